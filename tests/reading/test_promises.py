"""What freshness and sessions promise, tried by a machine: whatever happens to the replica, the rooms and the runtime between."""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_rooms import Limits, ReplicationLate, Runtime
from tests.reading.chat import ChatRoom, reading

ROOMS = ("one", "two")
STEPS_MAX = 30
LIMITS = Limits(idle_seconds_max=1, open_rooms_max=1)

rooms = st.sampled_from(ROOMS)
sessions = st.integers(0, 1)
USE = st.one_of(
    st.tuples(st.just("post"), rooms, sessions),
    st.tuples(st.just("read in session"), rooms, sessions, st.sampled_from(["any", "acknowledged", 5])),
    st.tuples(st.just("wait"), st.sampled_from([0.06, 0.0, 2.0, 10.0])),
)
STEP = st.one_of(
    USE,  # the more of it, the more there is to be lost
    USE,
    USE,
    st.tuples(st.just("read"), rooms, st.sampled_from(["acknowledged", "room", "any", 0, 0.05, 5])),
    st.tuples(st.just("across in session"), sessions),
    st.tuples(st.just("hand the bookmark to"), sessions, sessions),
    st.tuples(st.sampled_from(["copy the replica", "put the copy in place", "lock", "unlock", "delete"])),
    st.tuples(st.just("copy a room"), rooms),
    st.tuples(st.sampled_from(["restart", "restart with the copy", "restart with the room's copy"])),
)


class History:
    """What callers know: how many posts of each room have returned, and how many each session has seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runtime: Runtime
        self.returned = dict.fromkeys(ROOMS, 0)
        self.since: dict[str, list[float]] = {room: [] for room in ROOMS}
        self.seen = [dict.fromkeys(ROOMS, 0) for _ in range(2)]
        self.bookmarks: list[str | None] = [None] * 2
        self.lock: apsw.Connection | None = None
        self.copied: dict[str, int] = {}  # a room's file, at so many posts

    # -- what is done ----------------------------------------------------------------------------------------------------
    async def post(self, room: str, session: int) -> None:
        one = self.runtime.session(self.bookmarks[session], fresh="any")
        number = self.returned[room] + 1
        await one.room(ChatRoom, room).post("ann", f"{number}")
        self.returned[room] = number
        self.since[room].append(trio.current_time())
        self.saw(session, room, number, one.bookmark)

    async def read(self, room: str, fresh: Any) -> None:
        before, now = self.returned[room], trio.current_time()
        count = self.count(await self.runtime.room(ChatRoom, room).options(fresh=fresh).bodies())
        if fresh in ("acknowledged", "room"):
            assert count >= before, "a post that had returned is missing"
        elif fresh != "any":
            assert count >= sum(at < now - fresh for at in self.since[room]), f"a post older than {fresh} s is missing"

    async def read_in_session(self, room: str, session: int, fresh: Any) -> None:
        one, before = self.runtime.session(self.bookmarks[session]), self.returned[room]
        count = self.count(await one.room(ChatRoom, room).options(fresh=fresh).bodies())
        assert count >= self.seen[session][room], "what the session saw has disappeared"
        assert fresh != "acknowledged" or count >= before
        self.saw(session, room, count, one.bookmark)

    async def across_in_session(self, session: int) -> None:
        one = self.runtime.session(self.bookmarks[session])
        query = "SELECT room_id, count(*) AS n FROM ChatRoom_messages GROUP BY room_id"
        try:
            found = {row["room_id"]: row["n"] for row in await one.across({ChatRoom: "all"}).sql(query)}
        except ReplicationLate:
            return
        except apsw.SQLError:  # no room of the class was ever written, so the replica has no table of it
            assert not any(self.returned.values())
            return
        for room in ROOMS:
            assert found.get(room, 0) >= self.seen[session][room], "what the session saw has disappeared"
            self.saw(session, room, found.get(room, 0), one.bookmark)

    def saw(self, session: int, room: str, count: int, bookmark: str) -> None:
        self.seen[session][room] = max(self.seen[session][room], count)
        self.bookmarks[session] = bookmark

    @staticmethod
    def count(bodies: list[str]) -> int:
        assert bodies == [f"{n}" for n in range(1, len(bodies) + 1)], "not a prefix of the room"
        return len(bodies)

    # -- what happens to it --------------------------------------------------------------------------------------------------
    @property
    def replica(self) -> Path:
        return self.path / "replica.db"

    def locked(self) -> None:
        if self.lock is None and self.replica.exists():
            self.lock = apsw.Connection(str(self.replica))
            with contextlib.suppress(apsw.Error):
                self.lock.execute("BEGIN IMMEDIATE").fetchall()

    def unlocked(self) -> None:
        if self.lock is not None:
            self.lock.close()
            self.lock = None

    def remove(self, path: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def copy(self, path: Path, name: str) -> bool:
        """A copy of a database at one moment."""
        if not path.exists():
            return False
        target = self.path.parent / name
        target.unlink(missing_ok=True)
        with contextlib.ExitStack() as stack:
            ours, theirs = (stack.enter_context(contextlib.closing(apsw.Connection(str(one)))) for one in (target, path))
            backup = stack.enter_context(ours.backup("main", theirs, "main"))
            while not backup.done:
                backup.step(1_000)
        return True

    def put_back(self, name: str, path: Path) -> None:
        source = self.path.parent / name
        if source.exists():
            self.remove(path)
            shutil.copy(source, path)

    def room_file(self, room: str) -> Path:
        return self.runtime.directory.room(self.runtime.address(ChatRoom, room)[0])

    def rewound(self, room: str) -> None:
        """The room's file is an older one: what came later is gone for everybody, and nobody can have it back."""
        then = self.copied[room]
        self.returned[room] = then
        del self.since[room][then:]
        for seen in self.seen:
            seen[room] = min(seen[room], then)


async def play(history: History, steps: list[Any]) -> str:
    """One stay of the runtime; returns why it ended, and leaves the steps that are to come."""
    async with reading(path=history.path, limits=LIMITS) as history.runtime:
        while steps:
            what, *rest = steps.pop(0)
            match what:
                case "post":
                    await history.post(*rest)
                case "read":
                    await history.read(*rest)
                case "read in session":
                    await history.read_in_session(*rest)
                case "across in session":
                    await history.across_in_session(*rest)
                case "hand the bookmark to":
                    giver, taker = rest
                    history.bookmarks[taker], history.seen[taker] = history.bookmarks[giver], dict(history.seen[giver])
                case "wait":
                    await trio.sleep(*rest)
                case "lock":
                    history.locked()
                case "unlock":
                    history.unlocked()
                case "delete":
                    history.unlocked()
                    history.remove(history.replica)
                case "copy the replica":
                    history.copy(history.replica, "replica copy")
                case "put the copy in place":
                    history.unlocked()
                    history.put_back("replica copy", history.replica)
                case "copy a room":
                    (room,) = rest
                    if history.copy(history.room_file(room), f"copy of {room}"):
                        history.copied[room] = history.returned[room]
                case _:
                    history.unlocked()
                    return what
        history.unlocked()
    return ""


def between(history: History, why: str) -> None:
    if why == "restart with the copy":
        history.put_back("replica copy", history.replica)
    if why == "restart with the room's copy" and history.copied:
        room = min(history.copied)
        history.put_back(f"copy of {room}", history.room_file(room))
        history.rewound(room)


def run(steps: list[Any]) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as directory:
            history, left = History(Path(directory) / "data"), list(steps)
            while left:
                between(history, await play(history, left))
            await play(history, [("read", room, "acknowledged") for room in ROOMS])

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=3, max_size=STEPS_MAX))
def test_acknowledged_misses_no_post_and_a_session_loses_nothing(steps):
    run(steps)


def test_a_session_over_a_replica_that_was_put_back_loses_nothing():
    run(
        [
            ("post", "one", 0),
            ("wait", 2.0),
            ("copy the replica",),
            ("post", "one", 1),
            ("wait", 2.0),
            ("across in session", 0),
            ("restart with the copy",),
            ("read in session", "one", 0, "any"),
            ("read in session", "one", 1, "any"),
            ("read", "one", "acknowledged"),
            ("across in session", 1),
        ]
    )


@pytest.mark.parametrize("asked", [("read", "one", 5), ("read in session", "one", 0, "any"), ("across in session", 0)], ids=str)
def test_a_copy_that_is_put_in_place_under_a_running_reader_is_not_believed(asked):
    run(
        [
            ("post", "one", 0),
            ("wait", 2.0),
            ("copy the replica",),
            ("post", "one", 0),
            ("wait", 10.0),
            asked,
            ("put the copy in place",),
            asked,
        ]
    )


def test_a_session_goes_on_with_a_room_that_was_put_back():
    run(
        [
            ("post", "one", 0),
            ("wait", 10.0),
            ("copy a room", "one"),
            ("post", "one", 0),
            ("wait", 2.0),
            ("restart with the room's copy",),
            ("read in session", "one", 0, "any"),
            ("read", "one", "acknowledged"),
            ("post", "one", 0),
            ("read in session", "one", 0, "any"),
        ]
    )
