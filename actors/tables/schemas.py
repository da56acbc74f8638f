"""What the runtime knows of a room's schema, by its text: made once, shared by every room that reads the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import apsw

from actors.statements.sql import internal
from actors.tables import capture
from actors.tables.capture import Extraction
from actors.tables.schema import RoomSchema, read_schema

_KNOWN_MAX = 1_000  # texts; 20 kB each
_TEXT = (
    "SELECT type, name, tbl_name, sql FROM sqlite_schema"
    " UNION ALL SELECT id, name, replicated, NULL FROM _tables"  # the numbers that the capture triggers log
)


@dataclass(frozen=True, slots=True)
class KnownSchema:
    """`extractions`: how each captured table is read. `fits`: the capture triggers are the ones that the schema needs."""

    schema: RoomSchema
    extractions: Mapping[int, Extraction]
    fits: bool


class Schemas:
    """Of one runtime. Reading a schema costs 0.4 ms, finding it 20 µs. Used on the loop and in worker threads."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownSchema] = {}

    def of(self, connection: apsw.Connection, local: frozenset[str]) -> KnownSchema:
        """The schema of a room as it is now.

        Raises:
          StatementRefused: a table that cannot be replicated and is not declared local.
        """
        key = blake2b(repr((sorted(local), internal(connection, _TEXT))).encode(), digest_size=16).digest()
        known = self._known.get(key)
        if known is None:
            schema = read_schema(connection, local)
            extractions = capture.extractions(connection, schema.replicated)
            known = KnownSchema(schema, extractions, capture.fits(connection, schema.replicated))
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known[key] = known
        return known
