"""Whose replica it is: one runtime writes it at a time, and it belongs to the rooms of one data directory.

Positions alone cannot tell: a room of another directory may have the same id and, by chance, stand at the same `(epoch, seq)`
with other rows. So each start of a runtime draws a *token*, which it notes in its data directory first and in the replica then. A
replica whose token the directory does not know was last written for other rooms (also for a copy of this directory that went its
own way) and says nothing about ours.
"""

import os
from collections.abc import Callable
from pathlib import Path

import apsw

from actors import Disk
from replication.limits import TOKENS_KEPT
from replication.repair import beside
from replication.replica import ReplicaDamaged, ReplicaForeign, ReplicaGone, ReplicaRefused
from replication.statement import run, scalar


class House:
    """One data directory, at one start. Every method blocks."""

    def __init__(self, disk: Disk, directory: Path, token: str, generation: Callable[[], str], number: int = 0) -> None:
        """`generation` draws what tells a replica that is made now from all others; a later one sorts behind. `number`: of the
        replica among those of one runtime, which sign alike, and perhaps at once."""
        self.token = token
        self._generation = generation
        self._disk = disk
        self._directory = directory
        self._tokens = directory / "replica-tokens"
        self._new_tokens = beside(self._tokens, f".{number}.new" if number else ".new")
        self._owner_fd: int | None = None

    # -- one writer ---------------------------------------------------------------------------------------------------
    def own(self, replica: Path) -> None:
        """Keep other runtimes away from the replica, until `disown`.

        Raises:
          ReplicaRefused: another runtime writes it.
        """
        if self._owner_fd is not None:
            return
        fd = self._disk.open(beside(replica, "-owner"), create=True)
        try:
            if not self._disk.lock(fd):
                owner = self._disk.content(fd).decode(errors="replace").strip()
                raise ReplicaRefused(
                    f"{replica} is written by another runtime: {owner!r:.300}. Give each runtime a replica of its own, or stop "
                    "that one (a child that it forked may still hold the lock)."
                )
            self._disk.replace_content(fd, f"pid {os.getpid()}, rooms in {self._directory}\n".encode())
        except BaseException:
            self._disk.close(fd)
            raise
        self._owner_fd = fd

    def disown(self) -> None:
        """The file stays: removing it would race with whoever locks it next."""
        fd, self._owner_fd = self._owner_fd, None
        if fd is not None:
            self._disk.close(fd)

    # -- its rooms ----------------------------------------------------------------------------------------------------
    def _known(self) -> list[str]:
        """The tokens of the last starts, the newest first; none if the directory never had a replica (or lost the note)."""
        if not self._disk.exists(self._tokens):
            return []
        return self._disk.read(self._tokens).decode(errors="replace").split()

    def keeps(self, replica: Path) -> bool:
        """Whether what lies at the path must have been our replica, even if nothing in it says so any more."""
        return replica.parent == self._directory and bool(self._known())

    def note(self) -> None:
        """Make this start's token durable in the directory; only then may it go into the replica, or a crash would disown it."""
        known = self._known()
        if self.token in known:
            return
        self._disk.write_synced(self._new_tokens, "".join(f"{token}\n" for token in [self.token, *known][:TOKENS_KEPT]).encode())
        self._disk.rename(self._new_tokens, self._tokens)
        self._disk.sync_directory(self._directory)

    def sign(self, connection: apsw.Connection) -> None:
        """Make sure that the rows are of our rooms, and put this start's token there. v0.1.0 signed nothing: taken over, once.

        The generation goes there with the first signature, and stays: a reader's bookmark tells by it a replica made anew.

        Raises:
          ReplicaForeign: they are not, or nobody can tell.
          apsw.BusyError: the replica is locked; nothing was noted.
        """
        signed = scalar(connection, "SELECT count(*) FROM sqlite_schema WHERE name = '_house'") == 1
        token = scalar(connection, "SELECT max(token) FROM _house") if signed else None
        if token == self.token:
            return
        known = self._known()
        if (known or token) and token not in known and scalar(connection, "SELECT EXISTS (SELECT 1 FROM _rooms)"):
            raise ReplicaForeign("it was last written for the rooms of another data directory, or of a copy of this one")
        run(connection, "BEGIN IMMEDIATE")
        self.note()
        run(connection, "CREATE TABLE IF NOT EXISTS _house (one INTEGER PRIMARY KEY CHECK (one = 1), token TEXT NOT NULL)")
        run(connection, "INSERT OR REPLACE INTO _house VALUES (1, ?)", (self.token,))
        run(connection, "CREATE TABLE IF NOT EXISTS _generation (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL)")
        run(connection, "INSERT OR IGNORE INTO _generation VALUES (1, ?)", (self._generation(),))
        run(connection, "COMMIT")

    def check(self, connection: apsw.Connection) -> None:
        """Inside a transaction: nobody else has signed it since.

        Raises:
          ReplicaGone, ReplicaDamaged: somebody has, or has removed the signature.
        """
        try:
            token = scalar(connection, "SELECT max(token) FROM _house")
        except apsw.SQLError as error:
            raise ReplicaDamaged(f"tables of the replica are missing: {error}") from error
        if token != self.token:
            raise ReplicaGone("the replica was signed by another runtime while it was in use")
