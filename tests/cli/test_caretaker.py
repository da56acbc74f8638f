"""Tools that have a directory open in their program's place let rooms do nothing by themselves."""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import trio
from trio.testing import MockClock

from actors import RoomName
from durable_rooms.hatch.direct import call_directory
from durable_rooms.hatch.wire import Request
from durable_rooms.migrate import Sweep, rehearse, state, sweep
from durable_rooms.testing import open_test_runtime
from tests.rooms.telling import Board, Desk


class Clerk(Desk):
    gone_off: ClassVar[list[str]] = []

    def remind(self, name: str, seconds: float) -> None:
        self.alarms.set(name, self.now() + seconds)

    def on_alarm(self, name: str, payload: Any) -> None:
        Clerk.gone_off.append(name)


class Newer(Clerk):
    migrations: ClassVar = [*Desk.migrations, "CREATE TABLE more (id INTEGER PRIMARY KEY)"]


Newer.__name__ = "Clerk"


async def leave_much_to_do(data: Path) -> None:
    async with open_test_runtime(Clerk, Board, path=data) as runtime:
        clerk = runtime.room(Clerk, "a")
        await clerk.remind("tea", 3_600)  # long ago by the clock of the tools
        Board.failing.add(1)
        await clerk.tell_board(1)


async def do_it(data: Path) -> tuple[list[int], list[Any]]:
    async with open_test_runtime(Newer, Board, path=data) as runtime:
        await trio.sleep(4_000)
        return await runtime.room(Board, "main").seen(), await runtime.room(Newer, "a").dead()


def test_no_alarm_goes_off_and_no_tell_is_given_up_in_a_rehearsal_a_sweep_or_a_call_from_a_shell(tmp_path: Path) -> None:
    Clerk.gone_off.clear()
    Board.failing.clear()
    trio.run(leave_much_to_do, tmp_path, clock=MockClock(autojump_threshold=0))
    Board.failing.clear()
    rehearsal = rehearse(tmp_path, {"Clerk": Newer}, state(tmp_path, {"Clerk": 2}), lambda said: None)
    assert [tried.failures for tried in rehearsal.tried] == [[]]
    report = Sweep(todo=1)
    trio.run(partial(sweep, replica=None, progress=lambda report: None), tmp_path, {"Clerk": Newer}, {"Clerk": 2}, report)
    assert (report.done, report.failures) == (1, [])
    for _ in range(3):
        call_directory(tmp_path, Newer, Request(RoomName("Clerk", "a"), "ping", [], {}), replica=None)
    assert Clerk.gone_off == []
    assert trio.run(do_it, tmp_path, clock=MockClock(autojump_threshold=0)) == ([1], [])
    assert Clerk.gone_off == ["tea"]
