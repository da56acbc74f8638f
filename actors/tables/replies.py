"""Replies that a room keeps under idempotency keys, in the transaction of the call that gave them: a repeat gets the same one,
after a crash, too. Which keys async handlers run under is remembered beside them, because their replies come later.

Keeping a reply is one SELECT and one INSERT. One that has expired is forgotten by a later keyed call, never by a timer: each
FORGET_EVERY_CALLS-th looks at the FORGET_ROWS_MAX oldest, twice as many as came meanwhile, so that the table shrinks to what
is alive.
"""

from collections.abc import Callable, Iterable
from json import dumps
from math import inf
from typing import Any

import trio

from actors.errors import KeyReused, TooLarge
from actors.limits import Limits
from actors.statements.codec import packed, unpacked
from actors.tables.annex import REPLIES, Annex, Call

FORGET_EVERY_CALLS = 16  # one look costs 10 µs
FORGET_ROWS_MAX = 32
FORGET_BYTES_MAX = 256 * 1024  # of replies forgotten at once, but for a single larger one: SQLite walks through each page of it
ROW_BYTES = 2 * 1024  # that a row may have beside its reply: a key, a method's name

LOOK_AHEAD_CALLS_MIN = 4  # that wait, before their keys are looked for at once: 0.4 µs each instead of 2, and 8 for the statement
LOOK_AHEAD_BYTES_MAX = 64 * 1024  # of keys: a full turn's, of usual length

_FIND = "SELECT method, digest, expires_at, reply FROM _replies WHERE key = ?"
_KEEP = "INSERT OR REPLACE INTO _replies (key, method, digest, expires_at, reply) VALUES (?, ?, ?, ?, ?)"  # an expired one goes
_THERE = "SELECT _replies.key FROM json_each(?) AS asked CROSS JOIN _replies ON _replies.key = asked.value"
_OLDEST = "SELECT id, expires_at, length(reply) FROM _replies ORDER BY id LIMIT ?"
_FORGET = "DELETE FROM _replies WHERE id <= ?"
_SHORTEN = "UPDATE _replies SET expires_at = ?1 WHERE expires_at > ?1"


class KeyUnderWay:
    """A key under which an async handler runs, and those who wait for its reply."""

    __slots__ = ("digest", "method", "owner", "people", "waiting")

    def __init__(self, method: str, digest: bytes) -> None:
        self.method = method
        self.digest = digest
        self.owner: Any = None  # the errand.Section of the one who runs the handler
        self.people = 0  # the one who runs it, and those who wait
        self.waiting = trio.lowlevel.ParkingLot()


class Replies:
    """Of one activation."""

    __slots__ = (
        "_absent",
        "_annex",
        "_call",
        "_limits",
        "_now",
        "_oldest_expires_at",
        "_queued",
        "_reply_bytes_max",
        "_room",
        "_since_forgetting",
        "under_way",
    )

    def __init__(self, call: Call, wall_clock: Callable[[], float], limits: Limits) -> None:
        self._annex = Annex(call, REPLIES)
        self._call = call
        self._absent: set[str] = set()  # keys that this turn has looked for and not found
        self._queued: Iterable[str] | None = None  # keys of the calls that this turn will run, if nobody has looked for them yet
        self._room = call.room
        self._now = wall_clock
        self._limits = limits
        self._reply_bytes_max = limits.row_bytes_max - ROW_BYTES
        self._since_forgetting = 0
        self._oldest_expires_at = -inf  # as far as known; none is looked for before
        self.under_way: dict[str, KeyUnderWay] = {}

    def turn_begins(self, keys: Iterable[str]) -> None:
        """A turn runs several calls; these are their keys, for whoever looks for the first of them."""
        self._queued = keys

    def turn_ends(self) -> None:
        self._queued = None
        self._absent.clear()

    def find(self, key: str, method: str, digest: bytes) -> tuple[Any] | None:
        """Inside a call: the reply that is kept for it, or None.

        Raises:
          KeyReused: it is another call's, or another call runs under the key. As `self.sql`.
        """
        if self.under_way:
            runs = self.under_way.get(key)
            if runs is not None and (runs.method != method or runs.digest != digest):
                raise self._reused(key, method, runs.method)
        if self._queued is not None:
            self._look_ahead(self._queued)
        if key in self._absent:
            self._absent.discard(key)  # from now on there may be one, of the call that asks
            return None
        if not self._annex.exists:
            return None
        rows = self._annex.read(_FIND, key)
        if not rows or rows[0][2] <= self._now():
            return None
        its_method, its_digest, _, reply = rows[0]
        if its_method != method or its_digest != digest:
            raise self._reused(key, method, its_method)
        return (unpacked(reply),)

    def _look_ahead(self, keys: Iterable[str]) -> None:
        """Which of them nobody has used: what most calls ask, and the one answer that needs no reply."""
        self._queued = None
        if not self._annex.exists:
            return
        asked: dict[str, None] = {}
        left = min(LOOK_AHEAD_BYTES_MAX, self._limits.row_bytes_max // 4)  # JSON may need two bytes for one, and commas
        for key in keys:
            left -= len(key)
            if left < 0:
                break
            if key.isascii() and key.isprintable():  # as JSON carries it without a second look
                asked[key] = None
        if len(asked) >= LOOK_AHEAD_CALLS_MIN:
            there = self._annex.read(_THERE, dumps(list(asked)))
            self._absent = asked.keys() - {key for (key,) in there}

    def keep(self, key: str, method: str, digest: bytes, value: Any) -> None:
        """Inside a call, at its end: keep its reply; gone with the call if that fails.

        Raises:
          TooLarge: the reply has more than `row_bytes_max`. StorageFull, and as `self.sql`.
        """
        reply = packed(value)
        if len(reply) > self._reply_bytes_max:
            raise TooLarge(
                f"{self._room}: the result of {method} has {len(reply):,} bytes, and one that is kept under a key may have "
                f"row_bytes_max = {self._limits.row_bytes_max:,} with it. The call was rolled back; return less, or call without "
                "a key.",
                room=self._room,
                ran="rolled back",
            )
        now, call = self._now(), self._call
        latest = now + self._limits.key_seconds_max
        row = (key, method, digest, latest, reply)
        if call.entered and self._annex.exists and not call.space.full:
            call.own(_KEEP, row)
        else:
            self._annex.write(_KEEP, *row)
        self._since_forgetting += 1
        if self._since_forgetting >= FORGET_EVERY_CALLS and not now < self._oldest_expires_at <= latest:
            self._since_forgetting = 0
            self._forget(now, latest)

    def _forget(self, now: float, latest: float) -> None:
        """The oldest ones that have expired, up to the first that has not. One that would expire after `latest` was kept by a
        clock that has been set back since: all behind it would wait for that time."""
        last, size = None, 0
        for id, expires_at, reply_bytes in self._annex.read(_OLDEST, FORGET_ROWS_MAX):
            if expires_at > now:
                self._oldest_expires_at = min(expires_at, latest)
                if expires_at > latest:
                    self._annex.remove(_SHORTEN, latest)
                break
            if last is not None and size + reply_bytes > FORGET_BYTES_MAX:
                break
            last = id
            size += reply_bytes
        if last is not None:
            self._annex.remove(_FORGET, last)

    def _reused(self, key: str, method: str, its_method: str) -> KeyReused:
        other = "the same method with other arguments" if its_method == method else f"another method, {its_method}"
        return KeyReused(
            f"{self._room}: {method} was called under the key {key!r:.100}, and {other} was called under it before. Nothing ran; "
            "give each call a key of its own.",
            room=self._room,
        )
