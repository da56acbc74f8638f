"""The other shipped scenario: rooms that call and tell one another, set alarms, are called under keys, and are deleted.

What ran in a room is a line of its log, each with a name of its own: what is missing, there twice or there too early shows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import trio

from actors import Actor, RoomsError
from durable_rooms.simulation.client import Client
from durable_rooms.simulation.history import Call
from durable_rooms.simulation.scenario import SMALL, After, Scenario


class Desk(Actor):
    """One room of it."""

    migrations = ("CREATE TABLE log (n INTEGER PRIMARY KEY, what TEXT NOT NULL)",)

    def note(self, what: str) -> int:
        """Returns how many lines there are now."""
        self.sql("INSERT INTO log (what) VALUES (?)", what)
        return self.sql("SELECT count(*) FROM log").scalar()

    def refer(self, to: str, what: str) -> None:
        self.note(f"told {to} {what}")
        self.tell(Desk, to, Desk.hear, self.id, what)

    def refer_and_raise(self, to: str, what: str) -> None:
        self.refer(to, what)
        raise Refused(what)

    def hear(self, source: str, what: str) -> None:
        self.note(f"heard {source} {what}")
        if what.endswith("!") and self.random.random() < 0.3:
            raise Refused(what)  # it is told again, and dead after the third time

    def dead(self) -> list[str]:
        """What this room told in vain."""
        return [f"told {tell.id} {tell.args[1]}" for tell in self.dead_tells]

    async def consult(self, to: str, what: str) -> str:
        """Asks another room between two slices."""
        self.note(f"asks {to} {what}")
        await self.room(Desk, to).answer(self.id, what)
        self.note(f"got {to} {what}")
        return what

    async def consult_alone(self, to: str, what: str) -> str:
        """The same, with nobody else in this room meanwhile; rooms that do so to one another are refused as a cycle."""
        async with self.exclusive():
            return await self.consult(to, what)

    def answer(self, source: str, what: str) -> None:
        self.note(f"asked {source} {what}")

    def remind(self, what: str, seconds: float) -> None:
        at = self.now() + seconds
        self.alarms.set(what, at, at)
        self.note(f"set {what}")

    def on_alarm(self, name: str, payload: float) -> None:
        self.note(f"rang {name}" if self.now() >= payload else f"early {name}")

    def lines(self) -> list[str]:
        return self.sql("SELECT what FROM log ORDER BY n").scalars()


class Sheet(Actor):
    """A room that is deleted now and then."""

    migrations = ("CREATE TABLE lines (n INTEGER PRIMARY KEY, what TEXT NOT NULL)",)

    def write(self, what: str) -> None:
        self.sql("INSERT INTO lines (what) VALUES (?)", what)
        self.alarms.set(what, self.now() + 1_000_000.0)

    def on_alarm(self, name: str, payload: None) -> None:
        """They are far away, and gone with the room."""

    def lines(self) -> list[str]:
        return self.sql("SELECT what FROM lines ORDER BY n").scalars()


class Refused(Exception):
    """What a handler raises itself."""


DESKS = ("a", "b", "c", "d")
SHEETS = ("x", "y")
KINDS = ("note", "note", "refer", "refer", "many", "raise", "consult", "consult", "alone", "remind", "write", "write", "delete")
TRIES = 3  # of one keyed call
REMIND_SECONDS = 30.0
SETTLED_SECONDS = 3_600.0  # virtual, for tells and alarms after a restart: retries are a minute apart, then more
LOOK_SECONDS = 5.0


class ErrandScenario(Scenario):
    """Four desks and two sheets, two places in memory."""

    actors = (Desk, Sheet)
    reads = ("lines",)
    limits = replace(SMALL, key_seconds_max=1e9)  # by the wall clock, which jumps by a day here
    cuts = 20

    async def client(self, client: Client) -> None:
        chance, what = client.random, client.name
        desk, other = chance.choice(DESKS), chance.choice(DESKS)
        sheet = chance.choice(SHEETS)
        kind = chance.choice(KINDS)
        try:
            if kind == "note":
                await self._note_once(client, desk, what)
            elif kind == "refer":
                await client.room(Desk, desk).refer(other, chance.choice([what, f"{what}!"]))
            elif kind == "many":
                for number in range(chance.randrange(2, 6)):
                    await client.room(Desk, desk).refer(other, f"{what}.{number}")
            elif kind == "raise":
                await client.room(Desk, desk).refer_and_raise(other, f"{what}-raised")
            elif kind == "consult":
                await client.room(Desk, desk).consult(other, what)
            elif kind == "alone":
                await client.room(Desk, desk).consult_alone(other, what)
            elif kind == "remind":
                await client.room(Desk, desk).remind(what, chance.uniform(-5.0, REMIND_SECONDS))
            elif kind == "write":
                await client.room(Sheet, sheet).write(what)
            else:
                await client.delete(Sheet, sheet)
        except Refused:
            pass
        if chance.random() < 0.3:
            await client.pause(10.0)

    async def _note_once(self, client: Client, desk: str, what: str) -> None:
        """As a client that got no answer: again, under the same key."""
        room = client.room(Desk, desk, key=what)
        replies: list[int] = []
        for left in reversed(range(TRIES)):
            try:
                replies.append(await room.note(what))
            except RoomsError:
                if not left:
                    raise
            await client.pause()
        assert len(set(replies)) <= 1, f"one call under the key {what} had different replies: {replies}"

    async def check(self, after: After) -> None:
        logs = await self._logs(after)
        self._check_at_once(logs, after)
        until = trio.current_time() + SETTLED_SECONDS
        while self._unsettled(logs) and trio.current_time() < until:
            await trio.sleep(LOOK_SECONDS)
            logs = await self._logs(after)
        self._check_at_once(logs, after)
        unsettled = self._unsettled(logs)
        assert not unsettled, f"{unsettled}, {SETTLED_SECONDS:g} virtual s after the restart"
        for id in SHEETS:
            _check_sheet(id, await after.room(Sheet, id).lines(), after.history.by_room().get(f"Sheet/{id}", []))

    async def _logs(self, after: After) -> dict[str, list[str]]:
        """By room; what was told in vain is out of it: nobody waits for that."""
        logs: dict[str, list[str]] = {}
        for id in DESKS:
            room = after.room(Desk, id)
            dead = set(await room.dead())
            assert all(line.endswith("!") for line in dead), f"Desk/{id}: tells are dead whose method never raised: {dead}"
            logs[id] = [line for line in await room.lines() if line not in dead]
        return logs

    def _check_at_once(self, logs: Mapping[str, Sequence[str]], after: After) -> None:
        for id, log in logs.items():
            twice = [line for line, times in Counter(log).items() if times > 1]
            assert not twice, f"Desk/{id}: {twice[0]!r} ran more than once"
            assert not any("-raised" in line for line in log), f"Desk/{id}: what a handler raised over is there: {log}"
            assert not any(line.startswith("early") for line in log), f"Desk/{id}: an alarm rang before its time: {log}"
        for call in after.acknowledged("note"):
            assert call.args[0] in logs[call.id], f"{call}, and its line is gone"
        for call in after.acknowledged("refer"):
            line = f"told {call.args[0]} {call.args[1]}"
            assert line in logs[call.id] or line.endswith("!"), f"{call}, and its line is gone"
        for call in after.acknowledged("remind"):
            assert f"set {call.args[0]}" in logs[call.id], f"{call}, and its line is gone"
        for call in (*after.acknowledged("consult"), *after.acknowledged("consult_alone")):
            assert f"got {call.args[0]} {call.args[1]}" in logs[call.id], f"{call}, and its line is gone"
        for source, target in ((source, target) for source in DESKS for target in DESKS):
            _check_pair(source, target, logs)

    def _unsettled(self, logs: Mapping[str, Sequence[str]]) -> str:
        """What has yet to come."""
        for id, log in logs.items():
            for line in log:
                word, *rest = line.split(" ", 2)
                if word == "set" and f"rang {rest[0]}" not in log:
                    return f"Desk/{id}: the alarm {rest[0]} has not rung"
                if word == "told" and f"heard {id} {rest[1]}" not in logs[rest[0]]:
                    return f"Desk/{id} told Desk/{rest[0]} {rest[1]}, which has not heard it"
        return ""


def _check_pair(source: str, target: str, logs: Mapping[str, Sequence[str]]) -> None:
    """Whatever one room has from another was durable there before, and what was told is heard in the order of the telling."""
    told = _said(logs[source], "told", target)
    heard = _said(logs[target], "heard", source)
    assert heard == told[: len(heard)], f"Desk/{source} told Desk/{target} {told}, which heard {heard}"
    asks, asked, got = (
        _said(logs[source], "asks", target),
        _said(logs[target], "asked", source),
        _said(logs[source], "got", target),
    )
    assert set(asked) <= set(asks), f"Desk/{target} was asked {set(asked) - set(asks)} by Desk/{source}, which never asked"
    assert set(got) <= set(asked), f"Desk/{source} got {set(got) - set(asked)} from Desk/{target}, which was never asked"


def _said(log: Sequence[str], word: str, whom: str) -> list[str]:
    head = f"{word} {whom} "
    return [line.removeprefix(head) for line in log if line.startswith(head)]


def _check_sheet(id: str, lines: Sequence[str], calls: Sequence[Call]) -> None:
    """A deleted room's lines are gone, and those that came after it are there."""
    writes = [call for call in calls if call.method == "write"]
    deletes = [call for call in calls if call.method == "delete"]
    for write in writes:
        there = write.args[0] in lines
        after_it = [one for one in deletes if one.outcome == "returned" and write.settled is not None and _follows(one, write)]
        assert not (there and after_it), f"Sheet/{id}: {write.args[0]} is there, and the room was deleted after it"
        if write.outcome == "returned" and all(_follows(write, one) for one in deletes):
            assert there, f"Sheet/{id}: {write} after every delete, and is gone"


def _follows(later: Call, earlier: Call) -> bool:
    """It began when the other was over."""
    return earlier.settled is not None and (earlier.life, earlier.settled) < (later.life, later.invoked)
