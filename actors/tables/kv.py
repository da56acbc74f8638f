"""`self.kv`: small values of a room by key, in its own transaction like everything else it writes. They never leave the room."""

from collections.abc import Iterator
from typing import Any

from actors.errors import CallFailed, TooLarge
from actors.limits import KEY_BYTES_MAX
from actors.statements.codec import by_value_and_bytes, unpacked
from actors.statements.sqltext import end_of
from actors.tables.annex import KV, Annex, Call

_PAGE = 256  # keys that `items` reads at once; between two pages the handler may change what it likes
_ROW_BYTES = 64  # that SQLite adds to a row, at most


class KeyValue:
    """Get and set by key: what has no shape worth a table (settings, cursors, counters).

    Reading a key costs 3 µs, writing one 6. Values are what crosses a call, by value; keys are text of 1 to 1,024 bytes, in the
    order of their bytes. Replicas do not have them: what is read without the room belongs in a table.
    """

    __slots__ = ("_annex", "_room", "_value_bytes_max")

    def __init__(self, call: Call, value_bytes_max: int) -> None:
        self._annex = Annex(call, KV)
        self._room = call.room
        self._value_bytes_max = value_bytes_max  # as of any row

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`. Raises as `set`."""
        rows = self._annex.read("SELECT value FROM _kv WHERE key = ?", self._checked(key))
        return unpacked(rows[0][0]) if rows else default

    def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`; gone with the call if that fails.

        Raises:
          CallFailed: the key is no text of 1 to 1,024 bytes, or the value cannot be carried by msgpack. TooLarge: the value has
            more than `row_bytes_max`. StorageFull: there is no space.
        """
        checked, room = self._checked(key), self._room
        try:
            packed = by_value_and_bytes(value)[1]
        except ValueError as error:
            raise CallFailed(f"{room}: kv.set({key!r:.100}): the value cannot be kept: {error}.", room=room) from error
        if len(packed) + len(checked.encode()) > self._value_bytes_max - _ROW_BYTES:
            raise TooLarge(
                f"{room}: kv.set({key!r:.100}): the value has {len(packed):,} bytes; row_bytes_max is "
                f"{self._value_bytes_max:,}. The call was rolled back.",
                room=room,
                ran="rolled back",
            )
        self._annex.write("INSERT INTO _kv VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", checked, packed)

    def delete(self, key: str) -> bool:
        """Forget `key`; whether it was there."""
        return bool(self._annex.remove("DELETE FROM _kv WHERE key = ? RETURNING 1", self._checked(key)))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Keys that begin with `prefix` and their values, in order; read in pages, so that it may be left early."""
        end = end_of(prefix, KEY_BYTES_MAX)
        page = self._annex.read("SELECT key, value FROM _kv WHERE key >= ? AND key < ? ORDER BY key LIMIT ?", prefix, end, _PAGE)
        while page:
            yield from ((key, unpacked(value)) for key, value in page)
            query = "SELECT key, value FROM _kv WHERE key > ? AND key < ? ORDER BY key LIMIT ?"
            page = self._annex.read(query, page[-1][0], end, _PAGE) if len(page) == _PAGE else []

    def _checked(self, key: str) -> str:
        try:
            fits = 0 < len(key.encode()) <= KEY_BYTES_MAX
        except (AttributeError, UnicodeEncodeError):
            fits = False
        if not fits:
            raise CallFailed(
                f"{self._room}: a key of kv is text of 1 to {KEY_BYTES_MAX:,} bytes of UTF-8, not {key!r:.100}.", room=self._room
            )
        return key
