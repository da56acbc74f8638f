"""How Datasette's queries open the replica: each for itself, read-only, and closed when it has its rows.

Opening costs a query 0.4 ms. What that buys: an idle browser holds no file and no lock; a busy one keeps the WAL from being
checkpointed for one query at most, which the time limit bounds; a replica that was made anew is read from the next query on.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import closing
from pathlib import Path
from typing import TypeVar, cast

from datasette.app import Datasette
from datasette.database import Database

from durable_rooms.browse.words import DATABASE
from durable_rooms.verify.files import BUSY_SECONDS, MOVED_SECONDS, RETRY_SECONDS, FileMoved, Standing, read_only

VALUE_BYTES_MAX = 64 * 1024 * 1024  # a room's row has 4 MiB unless told otherwise; SQLite's own bound of 1 GB would fit no memory

T = TypeVar("T")


class ReadOnly(Exception):
    """Something of Datasette wanted to write."""


class ReplicaDatabase(Database):
    """A replica, for Datasette."""

    def __init__(self, datasette: Datasette, path: Path) -> None:
        super().__init__(datasette, path=str(path), is_mutable=True)
        self._path = path

    def connect(self, write: bool = False) -> sqlite3.Connection:
        """Every way of Datasette into a file ends here, but for the threads' own connections, which `execute_fn` replaces."""
        if write:
            raise ReadOnly("The replica is written by its runtime alone.")
        return self._open(read_only(self._path))

    async def execute_fn(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(cast(Executor, self.ds.executor), self.read, fn)

    def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        """Run `fn` with a connection of its own; again where the file was opened, closed or replaced under it.

        Raises:
          Unreadable: there is no file.
          FileMoved: it did not hold still for long enough.
          Whatever `fn` raises.
        """
        deadline = time.monotonic() + MOVED_SECONDS
        while True:
            try:
                return self._read(fn)
            except FileMoved:
                if time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECONDS)

    def _read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        standing = Standing(self._path)
        try:
            with closing(self._open(standing.uri)) as connection:
                return fn(connection)
        finally:
            standing.check()

    def _open(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=BUSY_SECONDS)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA temp_store = MEMORY")  # a large sort would leave its rows in a temporary file of this machine
        self.ds._prepare_connection(connection, DATABASE)
        return connection
