"""How much every benchmark does: `full` for figures that are published, `quick` for a look, `tiny` for the tests.

Quick is shorter, not smaller: rooms and callers are those of the full run, so that both may be held to the same targets.
Smaller is only what is counted off instead of timed: births, rooms of a start, rooms that come and go.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    name: str
    repeats: int
    """Odd: how often a figure is measured between two measurements of its ceiling; the median counts."""
    seconds: float
    """One measurement of a figure."""
    ceiling_seconds: float
    """One measurement of a ceiling."""
    warm_seconds: float
    lag_seconds: float
    """Length of the open-loop run of replication_lag."""
    hot_callers: int = 256
    ping_callers: int = 64
    history_callers: int = 64
    door_threads: int = 16
    door_connections: int = 64
    history_rows: int = 5_000
    history_limit: int = 50
    some_rooms: int = 100
    some_callers: int = 256
    many_rooms: int = 1_000
    many_callers: int = 1_000
    batch_rows: int = 1_000
    batches: int
    """Batches in one measurement of replica_apply."""
    sync_samples: int
    backlog_entries: int = 200_000
    """That a replica missed, in catch_up."""
    new_rooms: int = 1_000
    """Born in one measurement; as many callers as `some_callers`."""
    wake_rows: int = 10_000
    wake_rooms: int = 8
    wakes: int
    memory_rooms: tuple[int, int] = (500, 1_000)
    """Open at once, at both ends of the slope."""
    memory_visits: int
    """Rooms that come and go through 64 places."""
    start_rooms: int
    starts: int
    """Odd: starts of each kind."""
    churn_rooms: int = 5_000
    churn_callers: int = 64
    churn_turns: int
    churn_seconds: float
    stall_rooms: int = 1_000
    stall_seconds: float
    stall_turns: int
    outage_seconds: float
    """That the replica is gone, in reads; as long before."""
    offload_callers: int = 16
    overload_seconds: float
    """Of twice the load that can be served."""
    search_rows: int
    alarms_pending: int = 100_000
    alarms_due: int = 20_000
    alarmed_rooms: int = 2_000
    simulated_room: str  # the scenario
    simulated_seeds: int
    idle_seeds: int
    soak_seconds: float
    soak_warm_seconds: float
    """Of soak_seconds, before growth counts."""
    soak_sample_seconds: float


FULL = Size(
    name="full",
    repeats=5,
    seconds=3.0,
    ceiling_seconds=1.0,
    warm_seconds=1.0,
    lag_seconds=20.0,
    batches=30,
    sync_samples=300,
    wakes=400,
    memory_visits=10_000,
    start_rooms=100_000,
    starts=5,
    churn_turns=5,
    churn_seconds=5.0,
    stall_seconds=10.0,
    stall_turns=3,
    outage_seconds=60.0,
    overload_seconds=60.0,
    search_rows=230_000,
    simulated_room="OneRoom",
    simulated_seeds=16,
    idle_seeds=20,
    soak_seconds=600.0,
    soak_warm_seconds=60.0,
    soak_sample_seconds=2.0,
)
QUICK = Size(
    name="quick",
    repeats=3,
    seconds=0.8,
    ceiling_seconds=0.3,
    warm_seconds=0.4,
    lag_seconds=5.0,
    batches=20,
    sync_samples=60,
    backlog_entries=30_000,
    wakes=80,
    memory_visits=3_000,
    start_rooms=10_000,
    starts=1,
    churn_turns=1,
    churn_seconds=4.0,
    stall_seconds=4.0,
    stall_turns=1,
    outage_seconds=6.0,
    overload_seconds=5.0,
    search_rows=60_000,
    simulated_room="OneRoom",
    simulated_seeds=4,
    idle_seeds=6,
    new_rooms=600,
    alarms_due=5_000,
    alarmed_rooms=500,
    wake_rooms=4,
    soak_seconds=60.0,
    soak_warm_seconds=20.0,
    soak_sample_seconds=0.5,
)
TINY = Size(
    name="tiny",
    repeats=1,
    seconds=0.05,
    ceiling_seconds=0.02,
    warm_seconds=0.02,
    lag_seconds=0.3,
    hot_callers=4,
    ping_callers=3,
    history_callers=3,
    door_threads=3,
    door_connections=3,
    history_rows=60,
    some_rooms=3,
    some_callers=5,
    many_rooms=6,
    many_callers=6,
    batch_rows=20,
    backlog_entries=200,
    batches=2,
    sync_samples=3,
    new_rooms=6,
    wake_rows=60,
    wake_rooms=2,
    wakes=4,
    memory_rooms=(3, 6),
    memory_visits=20,
    start_rooms=12,
    starts=1,
    churn_rooms=20,
    churn_callers=3,
    churn_turns=1,
    churn_seconds=0.05,
    stall_rooms=6,
    stall_seconds=0.3,
    stall_turns=1,
    outage_seconds=0.2,
    offload_callers=3,
    overload_seconds=0.3,
    search_rows=300,
    alarms_pending=50,
    alarms_due=40,
    alarmed_rooms=6,
    simulated_room="OneRoomBriefly",
    simulated_seeds=1,
    idle_seeds=1,
    soak_seconds=1.5,
    soak_warm_seconds=0.3,
    soak_sample_seconds=0.1,
)
