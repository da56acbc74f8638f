"""Read SQLite files of a data directory from outside, with Python's own sqlite3: read-only, beside a running process or after it.

Nothing here writes or leaves a file behind on purpose, and nothing here uses the runtime: whoever checks it must not trust it.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

BUSY_SECONDS = 5.0
MOVED_SECONDS = 5.0  # how long a file may be opened and closed under our eyes before we give up on it
RETRY_SECONDS = 0.02

T = TypeVar("T")


class FileMoved(Exception):
    """The file was opened or changed by a runtime while it was read as a file at rest: read it again."""


class Unreadable(Exception):
    """The file is missing, damaged, or not ours to read."""


def text(raw: bytes) -> str:
    """TEXT as SQLite has it, even where its bytes are not UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


class Standing:
    """How a file is about to be read, and whether that held.

    With a `-wal` beside it the file is in use, or was when its process was killed; it is read through the WAL. Without one it is
    at rest and read as immutable, since a plain reader would leave an empty `-wal` behind; it must then not change meanwhile.
    """

    def __init__(self, path: Path) -> None:
        """Raises Unreadable: the file is not there."""
        self._path = path
        self.at_rest = not wal_of(path).exists()
        self._before = footprint(path)

    @property
    def uri(self) -> str:
        return read_only(self._path, immutable=self.at_rest)

    def open(self) -> sqlite3.Connection:
        """In one read transaction. Raises sqlite3.Error."""
        connection = sqlite3.connect(self.uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)
        try:
            connection.text_factory = text
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()  # BEGIN alone takes no snapshot yet
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @property
    def moved(self) -> bool:
        return self.at_rest and (wal_of(self._path).exists() or footprint(self._path) != self._before)

    def check(self) -> None:
        """Raises FileMoved: it was changed or opened while it was read as a file at rest; whatever was read is void."""
        if self.moved:
            raise FileMoved(str(self._path))


@contextmanager
def reading(path: Path) -> Generator[sqlite3.Connection]:
    """A read-only connection inside one read transaction: all queries see the same moment.

    Raises:
      Unreadable: as above; also for any error of SQLite inside the block.
      FileMoved: raised at the end of the block; whatever was read is void.
    """
    standing = Standing(path)
    try:
        with closing(standing.open()) as connection:
            yield connection
    except sqlite3.Error as error:
        standing.check()
        raise Unreadable(f"{path.name}: {error}") from error
    standing.check()


class Kept:
    """One file that is read again and again: through one connection while it is at rest, else through a new one each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._standing: Standing | None = None
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """As `reading`."""
        standing = self._standing
        if standing is None or standing.moved:
            self.close()
            standing = Standing(self.path)
            if not standing.at_rest:
                with reading(self.path) as connection:
                    yield connection
                return
        try:
            if self._connection is None:
                self._connection, self._standing = standing.open(), standing
            yield self._connection
        except sqlite3.Error as error:
            self.close()
            standing.check()
            raise Unreadable(f"{self.path.name}: {error}") from error
        standing.check()

    def close(self) -> None:
        connection, self._connection, self._standing = self._connection, None, None
        if connection is not None:
            connection.close()


def held_still(read: Callable[[], T]) -> T:
    """Run a reading again until nothing moved under it.

    Raises:
      Unreadable: what `read` raises; or a file did not hold still for long enough.
    """
    deadline = time.monotonic() + MOVED_SECONDS
    while True:
        try:
            return read()
        except FileMoved as moved:
            if time.monotonic() > deadline:
                raise Unreadable(f"{moved} did not hold still for long enough to be read") from moved
            time.sleep(RETRY_SECONDS)


def read_only(path: Path, *, immutable: bool = False) -> str:
    """The URI under which sqlite3 opens a file that it must not write."""
    return f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if immutable else ''}"


def wal_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def footprint(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror}") from error
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def quoted(name: str) -> str:
    """A name as SQL text; names come from the files themselves."""
    return '"' + name.replace('"', '""') + '"'


def columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, int]]:
    """The columns of a table or view in order, generated ones too, each with its place in the primary key (0: not in it)."""
    return [(row[1], row[5]) for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})")]


def has(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None


def owner(data: Path) -> int | None:
    """The pid of the process that runs on this directory, or None. Takes no lock, so it is never in a starting runtime's way."""
    if (data / "clean-stop").exists():
        return None  # the number in the lock file may be another process's by now
    try:
        pid = int((data / "lock").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    try:
        os.kill(pid, 0)
    except PermissionError:
        return pid  # somebody else's process, but alive
    except (OSError, OverflowError):
        return None
    return pid
