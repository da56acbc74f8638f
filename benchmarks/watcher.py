"""A reader of the replica's file that looks for posts, and notes how long after its acknowledgement it saw each of them."""

from collections.abc import Hashable
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import NamedTuple, Self

import apsw
import trio

LOOK_SECONDS = 0.001  # between two looks; what it adds to a lag counts as lag


class Sought(NamedTuple):
    room: str
    id: int
    acknowledged: float


class Watcher:
    """Use it in a `with`; `run` is a task."""

    def __init__(self, path: Path) -> None:
        self.lags: list[float] = []
        """Seconds from the acknowledgement of a post until it was seen."""
        self._path = path
        self._sought: list[Sought] = []
        self._unlooked = False  # something is sought that may have been there before

    def __enter__(self) -> Self:
        self._connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        self._version: Hashable = None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def look_for(self, room: str, id: int) -> None:
        """A post that was acknowledged right now."""
        self._sought.append(Sought(room, id, perf_counter()))
        self._unlooked = True

    async def run(self) -> None:
        while True:
            await trio.sleep(LOOK_SECONDS)
            version = self._connection.pragma("data_version")
            if version != self._version or self._unlooked:
                self._version = version
                self._look()

    async def all_seen(self) -> None:
        """Wait until nothing is sought any more."""
        while self._sought:
            self._look()
            await trio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self._unlooked = False
        sought, self._sought = self._sought, []
        for post in sought:
            if self._is_there(post):
                self.lags.append(perf_counter() - post.acknowledged)
            else:
                self._sought.append(post)

    def _is_there(self, post: Sought) -> bool:
        query = "SELECT 1 FROM ChatRoom_messages WHERE room_id = ? AND id = ?"
        return bool(self._connection.execute(query, (post.room, post.id)).fetchall())
