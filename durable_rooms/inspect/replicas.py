"""The replicas of a data directory: what the process that writes them says of each, and what each file says."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from durable_rooms.inspect.catalog import sums
from durable_rooms.inspect.live import Live, live, mapping
from durable_rooms.inspect.place import require, running
from durable_rooms.inspect.replica import ReplicaState
from durable_rooms.inspect.status import replica_there
from durable_rooms.verify.files import Unreadable, has, held_still, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSight:
    """One replica.

    Attributes:
      said: the running process's figures of it, by name as in `ReplicaStatus`; None where no process tells.
      reads: of the way that reads take to it, as in `RouteStatus`.
      file: None where there is none.
      active: rooms of which the catalog cannot tell how far they are.
      generation: of the file; another one when it was made anew. None if it has none.
      seen_at: Unix seconds.
    """

    path: Path
    said: Mapping[str, Any] | None
    reads: Mapping[str, Any] | None
    file: ReplicaState | None
    active: int
    generation: str | None
    seen_at: float

    @property
    def attention(self) -> list[str]:
        """What needs a person."""
        said = self.said or {}
        words: list[str] = []
        if said.get("state") in ("retrying", "refused", "hanging"):
            words.append(f"It is not reached ({said['state']}): {said.get('last_error')}. Rooms are not concerned.")
        if parked := mapping(said.get("parked")):
            words.append(f"It refuses rows of {len(parked):,} room{'s' * (len(parked) != 1)}; they are tried again every minute.")
        if self.said is None and self.file is not None and self.file.unreadable is not None:
            words.append("It cannot be read. The next start makes it anew or says why not.")
        return words


def replicas(data: Path, replica: Path | None = None) -> list[ReplicaSight]:
    """Every replica that the process writes, or that the last one wrote; else the usual one, if it is there.

    Raises:
      NotADataDirectory: there is no catalog here, or it cannot be read.
    """
    require(data)
    told = live(data)
    ours = told is not None and told.pid == running(data)
    active = sum(one.active for one in sums(data))
    figures = figures_of(told) if told is not None else []
    if replica is not None:
        figures = [said for said in figures if said.get("path") == str(replica)] or [{"path": str(replica)}]
    found: list[ReplicaSight] = []
    for said in figures or [{"path": str(data / "replica.db")}]:
        path = Path(str(said.get("path")))
        file = replica_there(data, path)
        live_figures = said if ours and "state" in said else None
        if file is None and live_figures is None:
            continue
        reads = reads_of(told, str(said.get("name"))) if told is not None and live_figures is not None else None
        found.append(
            ReplicaSight(
                path=path,
                said=live_figures,
                reads=reads,
                file=file,
                active=active,
                generation=generation_of(path) if file is not None and file.unreadable is None else None,
                seen_at=time.time(),
            )
        )
    return found


def figures_of(told: Live) -> list[Mapping[str, Any]]:
    listed = told.figures.get("replicas")
    return [mapping(one) for one in cast(list[object], listed)] if isinstance(listed, list) else []


def reads_of(told: Live, name: str) -> Mapping[str, Any] | None:
    return mapping(mapping(mapping(told.figures.get("reads")).get("replicas")).get(name)) or None


def generation_of(path: Path) -> str | None:
    def read() -> str | None:
        with reading(path) as copy:
            row = copy.execute("SELECT id FROM _generation").fetchone() if has(copy, "_generation") else None
            return str(row[0]) if row else None

    try:
        return held_still(read)
    except Unreadable:
        return None
