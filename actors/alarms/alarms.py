"""`self.alarms`: durable timers of a room by name, set and cancelled in its own transaction like everything else it writes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from actors.errors import CallFailed, StatementRefused, TooLarge
from actors.limits import ALARM_AT_SECONDS_MAX, ALARM_EVERY_SECONDS_MIN, KEY_BYTES_MAX
from actors.statements.codec import by_value_and_bytes, unpacked
from actors.statements.sqltext import end_of
from actors.tables.annex import ALARMS, Annex, Call

_PAGE = 256  # alarms that `items` reads at once; between two pages the handler may change what it likes
_COLUMNS = "name, due, at, every, payload, number, tries, reason"
_SET = """INSERT INTO _alarms (name, due, at, every, payload, number) VALUES (?1, ?2, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET due = excluded.due, at = excluded.at, every = excluded.every, payload = excluded.payload,
    number = excluded.number, tries = 0, reason = ''"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm.

    Attributes:
      at: Unix seconds for which it is set; of a repeating one the next time of its grid.
      every: seconds between two times of a repeating one; None: it goes off once.
      tries: how often its handler has failed for this time.
      reason: how it failed last; "" if it has not. Of a repeating one also for the time that was given up last.
      missed: in `on_alarm` of a repeating one, how many times of its grid have passed beside this one.
    """

    name: str
    at: float
    payload: Any = None
    every: float | None = None
    tries: int = 0
    reason: str = ""
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """An alarm as it is kept. `due`: when its handler is run next (`at`, or the next try); None: it is dead.

    `number`: drawn anew each time that it is set, so that who has read it before knows.
    """

    name: str
    due: float | None
    at: float
    every: float | None
    payload: bytes
    number: int
    tries: int
    reason: str

    def after(self, now: float) -> tuple[float, int]:
        """The next time of its grid that is later than now, and how many after `at` are not."""
        every = self.every or 1.0
        passed = max(0, math.floor((now - self.at) / every))
        while (at := self.at + (passed + 1) * every) <= now:
            passed += 1
        return at, passed

    def alarm(self, *, at: float | None = None, missed: int = 0) -> Alarm:
        return Alarm(
            name=self.name,
            at=self.at if at is None else at,
            payload=unpacked(self.payload),
            every=self.every,
            tries=self.tries,
            reason=self.reason,
            missed=missed,
        )


class Table:
    """The alarms of one room, in the running call."""

    __slots__ = ("_annex",)

    def __init__(self, call: Call) -> None:
        self._annex = Annex(call, ALARMS)

    def row(self, name: str) -> Row | None:
        rows = self._annex.read(f"SELECT {_COLUMNS} FROM _alarms WHERE name = ?", name)  # noqa: S608 - constant
        return Row(*rows[0]) if rows else None

    def rows(self, prefix: str, *, dead: bool) -> Iterator[Row]:
        """By name; read in pages."""
        end = end_of(prefix, KEY_BYTES_MAX)
        state = "IS NULL" if dead else "IS NOT NULL"
        query = f"SELECT {_COLUMNS} FROM _alarms WHERE name {{}} ? AND name < ? AND due {state} ORDER BY name LIMIT ?"  # noqa: S608
        page = self._annex.read(query.format(">="), prefix, end, _PAGE)
        while page:
            yield from (Row(*row) for row in page)
            page = self._annex.read(query.format(">"), page[-1][0], end, _PAGE) if len(page) == _PAGE else []

    def set(self, name: str, at: float, every: float | None, payload: bytes, number: int) -> None:
        self._annex.write(_SET, name, at, every, payload, number)

    # What follows adds nothing, so that it works on a full disk, too.
    def forget(self, name: str) -> None:
        self._annex.remove("DELETE FROM _alarms WHERE name = ?", name)

    def done(self, row: Row, now: float) -> None:
        """It went off: gone, or at its next time; one that was set anew meanwhile stays as it is."""
        if row.every is None:
            self._annex.remove("DELETE FROM _alarms WHERE name = ? AND number = ?", row.name, row.number)
        else:
            self.goes_on(row, row.after(now)[0])

    def goes_on(self, row: Row, at: float, reason: str = "") -> None:
        """A repeating one has its next time."""
        query = "UPDATE _alarms SET due = ?3, at = ?3, tries = 0, reason = ?4 WHERE name = ?1 AND number = ?2"
        self._annex.remove(query, row.name, row.number, at, reason)

    def failed(self, row: Row, due: float | None, reason: str) -> None:
        """It is tried again at `due`; None: never."""
        query = "UPDATE _alarms SET due = ?3, tries = tries + 1, reason = ?4 WHERE name = ?1 AND number = ?2"
        self._annex.remove(query, row.name, row.number, due, reason)


class Alarms:
    """Any number of timers by name. `on_alarm(self, name, payload)` of the class runs when one is due.

    It never runs early, and at least once; as a `def` method exactly once in effect, because the alarm goes in the very
    transaction of what the method writes. While it runs, the alarm is not there (`get` gives None) unless it is set anew, and
    that stays. A method that raises is rolled back and tried again after 2, 4, 8 … seconds; after `alarm_retries_max` of them
    the alarm is dead: kept, with its reason, in `dead()`. The alarms of a room go off in the order of their times, those of one
    time in the order of their names. Setting one costs 6 µs, reading one as much. They never leave the room.
    """

    __slots__ = ("_changed", "_draw", "_now", "_payload_bytes_max", "_room", "_table", "_why_none", "running")

    def __init__(
        self,
        call: Call,
        *,
        payload_bytes_max: int,
        now: Callable[[], float],
        draw: Callable[[int], int],
        changed: Callable[[], None] = lambda: None,
        why_none: str = "",
    ) -> None:
        """`draw`: so many bits of chance. `changed`: an alarm is about to be. `why_none`: why the class can have none."""
        self._table = Table(call)
        self._room = call.room
        self._payload_bytes_max = payload_bytes_max
        self._now = now
        self._draw = draw
        self._changed = changed
        self._why_none = why_none
        self.running: dict[str, int] = {}  # what async handlers are at work on, by name: the number of its row

    def set(self, name: str, at: float, payload: Any = None, *, every: float | None = None) -> None:
        """Set an alarm, in place of one of this name; gone with the call if that fails.

        Args:
          name: text of 1 to 1,024 bytes.
          at: Unix seconds (`self.now() + 60`). In the past: as soon as this is durable.
          payload: what crosses a call, by value; `on_alarm` gets it.
          every: from then on so many seconds apart (at least 1): at + every, at + 2 · every … Times that passed meanwhile, while
            the runtime was down or busy, are made up for by one run; then the grid goes on.
        Raises:
          CallFailed: one of them is none of that. StatementRefused: the class has no `on_alarm`.
          TooLarge: the payload has more than `call_bytes_max`. StorageFull: there is no space.
        """
        checked, room = self._checked(name), self._room
        if self._why_none:
            raise StatementRefused(f"{room}: alarms.set({name!r:.100}): {self._why_none}.", room=room)
        if not (_is_seconds(at) and 0 <= at <= ALARM_AT_SECONDS_MAX):
            raise CallFailed(
                f"{room}: alarms.set({name!r:.100}): the time is Unix seconds up to the year 9999, not {at!r:.100}.", room=room
            )
        if every is not None and not (_is_seconds(every) and ALARM_EVERY_SECONDS_MIN <= every <= ALARM_AT_SECONDS_MAX):
            least = f"{ALARM_EVERY_SECONDS_MIN:g}"
            raise CallFailed(f"{room}: alarms.set({name!r:.100}): every is {least} s or more, not {every!r:.100}.", room=room)
        try:
            packed = by_value_and_bytes(payload)[1]
        except ValueError as error:
            raise CallFailed(f"{room}: alarms.set({name!r:.100}): the payload cannot be kept: {error}.", room=room) from error
        if len(packed) > self._payload_bytes_max:
            raise TooLarge(
                f"{room}: alarms.set({name!r:.100}): the payload has {len(packed):,} bytes; call_bytes_max is "
                f"{self._payload_bytes_max:,}. The call was rolled back.",
                room=room,
                ran="rolled back",
            )
        self._changed()
        self._table.set(checked, float(at), None if every is None else float(every), packed, self._draw(62))

    def cancel(self, name: str) -> bool:
        """Forget an alarm, a dead one, too; whether there was one. The one that runs now is not there; cancelled in its own
        handler, a repeating one goes off no more."""
        row = self._table.row(self._checked(name))
        if row is None:
            return False
        self._changed()
        self._table.forget(name)
        return row.due is None or self._shown(row) is not None

    def get(self, name: str) -> Alarm | None:
        """The alarm that is set by this name; None: none, or a dead one."""
        row = self._table.row(self._checked(name))
        return None if row is None or row.due is None else self._shown(row)

    def items(self, prefix: str = "") -> Iterator[Alarm]:
        """Those that are set, by name; read in pages, so that it may be left early."""
        return (alarm for row in self._table.rows(prefix, dead=False) if (alarm := self._shown(row)) is not None)

    def dead(self, prefix: str = "") -> Iterator[Alarm]:
        """Those that were given up, by name, with their reasons. Set anew they live; `cancel` forgets them."""
        return (row.alarm() for row in self._table.rows(prefix, dead=True))

    def _shown(self, row: Row) -> Alarm | None:
        """As it stands while its handler runs: gone, or at its next time."""
        if self.running.get(row.name) != row.number:
            return row.alarm()
        return None if row.every is None else row.alarm(at=row.after(self._now())[0])

    def _checked(self, name: str) -> str:
        try:
            fits = 0 < len(name.encode()) <= KEY_BYTES_MAX
        except (AttributeError, UnicodeEncodeError):
            fits = False
        if not fits:
            raise CallFailed(
                f"{self._room}: an alarm's name is text of 1 to {KEY_BYTES_MAX:,} bytes of UTF-8, not {name!r:.100}.",
                room=self._room,
            )
        return name


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # pyright: ignore[reportArgumentType] - a number by then
