"""A receipt: what a told room keeps of each room that tells it something, so that every tell runs there once and in order.

One row a sender, in the told room's own transaction: the newest of its tells that ran here. Rows are not pruned: 60 bytes
are all that keeps a sender which was restored from an older copy, and tells again what it had told, from being believed.
"""

from typing import Any

from actors.errors import CallRefused
from actors.names import RoomName
from actors.statements.transaction import Transaction
from actors.tables.annex import TOLD, Annex

Key = tuple[int, int]
"""The epoch in which a tell was stored, and its number: grows with every tell of a room, also of one that was rewound."""

_KEEP = """INSERT INTO _told VALUES (?, ?, ?, ?)
    ON CONFLICT (actor, id) DO UPDATE SET epoch = excluded.epoch, number = excluded.number
    WHERE (excluded.epoch, excluded.number) > (epoch, number)"""


class NotYet(CallRefused):
    """An earlier tell of the same pair has not run. Nobody but the courier ever sees it."""

    retryable = True


class Receipt:
    """Makes one tell run once (see envelope.Once). `previous`: the tell before it that is still under way, if one is."""

    __slots__ = ("_key", "_previous", "_sender")

    def __init__(self, sender: RoomName, key: Key, previous: Key | None) -> None:
        self._sender = sender
        self._key = key
        self._previous = previous

    def answered(self, transaction: Transaction) -> tuple[Any] | None:
        """Raises NotYet."""
        rows = Annex(transaction, TOLD).read("SELECT epoch, number FROM _told WHERE actor = ? AND id = ?", *self._sender)
        reached: Key = rows[0] if rows else (0, 0)
        if self._key <= reached:
            return (None,)
        if self._previous is not None and self._previous > reached:
            raise NotYet(f"{transaction.room}: an earlier tell of {self._sender} has not run yet. Nothing ran.")
        return None

    def ran(self, transaction: Transaction, value: Any) -> None:
        """Raises StorageFull, and TurnVoid if the method passed over an error by which SQLite undid its turn."""
        Annex(transaction, TOLD).write(_KEEP, *self._sender, *self._key)
