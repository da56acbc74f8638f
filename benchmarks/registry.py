"""Every benchmark by its name, in the order in which they run, and what each says of itself."""

from collections.abc import Mapping
from types import ModuleType

from benchmarks import (
    alarms,
    catch_up,
    ceilings,
    checkpoint_stall,
    churn,
    doors,
    history,
    hot_room,
    idempotency,
    many_rooms,
    memory,
    mixed,
    new_rooms,
    offload,
    overload,
    ping,
    reads,
    replica_apply,
    replication_cost,
    replication_lag,
    room_calls,
    search,
    simulation,
    soak,
    start,
    tells,
    wake,
)

BENCHMARKS: Mapping[str, ModuleType] = {
    module.NAME: module
    for module in (
        ceilings,
        ping,
        room_calls,
        doors,
        hot_room,
        idempotency,
        many_rooms,
        tells,
        history,
        replication_lag,
        replica_apply,
        replication_cost,
        catch_up,
        reads,
        mixed,
        offload,
        overload,
        search,
        new_rooms,
        wake,
        memory,
        start,
        churn,
        alarms,
        checkpoint_stall,
        simulation,
        soak,
    )
}


def paragraph(module: ModuleType, first_words: str) -> str:
    """The paragraph of a benchmark's text that begins so, on one line; "" if there is none."""
    for text in (module.__doc__ or "").split("\n\n"):
        if text.strip().startswith(first_words):
            return " ".join(text.split())
    return ""
