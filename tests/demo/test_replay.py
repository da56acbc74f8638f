"""The drive, against a server that is played: order, the kill, and what becomes of the calls that it meets."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from durable_rooms.demo.child import ServerDied
from durable_rooms.demo.irc import Logs
from durable_rooms.demo.ledger import Ledger, State
from durable_rooms.demo.replay import Replay
from durable_rooms.demo.wire import Message

FIGURES = {"rooms": 1, "lag": 0.0, "lag_p50": 0.01, "lag_p99": 0.02, "error": ""}


class PlayedServer:
    """Answers every post at the next `receive`, one message a call. `said_at_the_end` leaves it with its last breath."""

    def __init__(self, posted: list[list[object]], *, dies_after: int | None = None, answers_last: int = 0) -> None:
        self.posted = posted
        self.waiting: list[int] = []
        self.dies_after = dies_after
        self.answers_last = answers_last
        self.outgoing: list[Message] = [["ready"], ["figures", FIGURES]]
        self.ended = ""

    def send(self, message: Message) -> None:
        match message:
            case ["posts", posts]:
                self.posted += posts
                self.waiting += [post[0] for post in posts]
            case ["replicated", _]:
                self.outgoing.append(["replicated", "", FIGURES])
            case _:
                pass

    def receive(self, seconds: float) -> Sequence[Message]:
        if self.dies_after is not None and len(self.posted) > self.dies_after:
            raise ServerDied("it broke")
        messages, self.outgoing = self.outgoing, []
        if self.waiting:
            messages.append(["done", [self.waiting.pop(0)]])
        return messages

    def kill(self) -> Sequence[Message]:
        self.ended += "killed "
        return [["done", [self.waiting.pop(0)]] for _ in range(self.answers_last)]

    def stop(self) -> None:
        self.ended += "stopped "

    def abandon(self) -> None:
        self.ended += "abandoned"


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    for name in "abcd":
        (tmp_path / f"{name}.log").write_text("".join(f"[18:51] <ann> {n}\n" for n in range(25)))
    return Logs([tmp_path])


def replay(logs: Logs, *servers: PlayedServer) -> tuple[Replay, Ledger]:
    ledger = Ledger("run")
    waiting = list(servers)
    return Replay(logs, ledger, look=lambda _: None, new_server=lambda: waiting.pop(0), chance=lambda: 0.0), ledger


def test_every_line_is_posted_once_in_the_order_of_its_room(logs: Logs):
    posted: list[list[object]] = []
    drive, ledger = replay(logs, PlayedServer(posted), PlayedServer(posted))
    drive.run()
    assert len(ledger) == len(posted) == 100
    for name in "abcd":
        assert [body for _, room, _, _, body in posted if room == f"{name}.log"] == [str(n) for n in range(25)]


def test_the_kill_comes_at_half_and_what_it_meets_is_unknown_and_never_repeated(logs: Logs):
    posted: list[list[object]] = []
    first, second = PlayedServer(posted), PlayedServer(posted)
    drive, ledger = replay(logs, first, second)
    drive.run()
    assert (first.ended, second.ended) == ("killed ", "stopped abandoned")
    assert drive.course.kills == 1
    assert drive.course.acknowledged_at_kill == 50
    assert ledger.unknown == drive.course.in_flight_at_kill == 3
    assert ledger.acknowledged == 97
    unknown = [posted[number][1:] for number in range(100) if ledger.state(number) is State.unknown]
    assert all(
        posted.count([number, *line]) <= 1 and sum(post[1:] == line for post in posted) == 1
        for line in unknown
        for number in range(100)
    )


def test_a_reply_that_had_left_the_process_before_it_died_counts(logs: Logs):
    posted: list[list[object]] = []
    drive, ledger = replay(logs, PlayedServer(posted, answers_last=2), PlayedServer(posted))
    drive.run()
    assert (ledger.unknown, ledger.acknowledged) == (1, 99)


def test_a_server_that_dies_by_itself_ends_the_drive(logs: Logs):
    server = PlayedServer([], dies_after=20)
    drive, _ = replay(logs, server)
    with pytest.raises(ServerDied, match="it broke"):
        drive.run()
    assert server.ended == "abandoned"
