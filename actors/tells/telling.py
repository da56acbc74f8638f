"""Telling: the duty of one stay of a room in memory to have its tells delivered (see duties). The courier does the work.

While the room is in memory the courier needs no reminder; the catalog must know from the first tell on that there are some, and
of a room that leaves, when it must be back.
"""

import apsw

from actors.names import RoomName
from actors.statements.sql import internal
from actors.tables.annex import TELLS
from actors.tells.courier import Courier
from actors.tells.outgoing import NOW, Stay
from actors.tells.tells import Tells


class Telling:
    """Of one activation."""

    def __init__(self, name: RoomName, stay: Stay, tells: Tells, courier: Courier) -> None:
        self._name = name
        self._stay = stay
        self._tells = tells
        self._courier = courier
        self._begun = False
        self.next_at: float | None = None

    def opened(self) -> None:
        """The room is in memory: what an earlier stay left behind is delivered."""
        self.committed()

    def committed(self) -> bool:
        """A turn was committed: hand over what it told, for when it is durable. Whether the catalog may not know of tells yet."""
        self._tells.stored = False
        if TELLS not in self._stay.storage.transaction.annexes:
            return False  # it was made by the call that told, and went with it
        try:
            # What a call stored that failed is not there, and its number is the next one's.
            newest = internal(self._stay.storage.connection, "SELECT max(number) FROM _tells")[0][0]
        except apsw.BusyError:
            self._tells.stored = True  # another program is at work on the file: with the next commit
            return True
        except apsw.Error as error:
            self._stay.unreadable(error)
            return False
        if newest is not None:
            self._courier.committed(self._name, self._stay, newest)
        return not self._begun

    # -- a duty (duties.Duty) -----------------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return self._courier.busy(self._name)

    def look(self) -> None:
        if self._begun or TELLS not in self._stay.storage.transaction.annexes:
            return
        rows = internal(self._stay.storage.connection, "SELECT 1 FROM _tells WHERE actor IS NOT NULL LIMIT 1")
        self.next_at = NOW if rows else None

    def begin(self, now: float) -> None:
        """The courier is at work already."""
        self._begun = True
        self.next_at = None

    def end(self) -> None:
        self._begun = True
        self.next_at = self._courier.left(self._name, self._stay)
