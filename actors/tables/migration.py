"""Migrations: the steps of a class's schema, each run once a room, in order, all in one transaction."""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from importlib.resources import files
from inspect import getsource, iscoroutinefunction
from textwrap import dedent

import apsw

from actors.errors import MigrationEdited, MigrationFailed, SchemaTooNew
from actors.reason import reason
from actors.statements.sql import SQL, internal, internal_many
from actors.statements.sqltext import statements

MIGRATIONS_SCHEMA = (
    "CREATE TABLE _migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at REAL NOT NULL, hash TEXT NOT NULL)"
)


_FILE_NAME = re.compile(r"[0-9]{4}_[A-Za-z0-9_.-]+[.]sql")


class Migration:
    """One step: SQL text of any number of statements, or a function of the database. Its version is its place in the list.

    A function is told from an edited one by its source text (comments and blank lines left out), where that can be read; not by
    its compiled code, which differs between versions of Python. A lambda has no text of its own, so it needs a name.
    """

    __slots__ = ("hash", "name", "up")

    def __init__(self, up: str | Callable[[SQL], None], *, name: str = "") -> None:
        if not (isinstance(up, str) or callable(up)) or iscoroutinefunction(up):
            raise TypeError(f"a migration is SQL text or a plain function of the database, not {up!r}")
        self.up = up
        if isinstance(up, str):
            self.name = name or " ".join(up.split())[:60]
            self.hash = _hash(" ".join(up.split()))
            return
        called = getattr(up, "__name__", type(up).__name__)
        if called == "<lambda>" and not name:
            raise TypeError(
                "a migration by lambda needs a name, by which it is known once it ran: Migration(…, name='fill in authors')"
            )
        self.name = name or called
        self.hash = _hash(self.name if called == "<lambda>" else _source_of(up, called))

    @staticmethod
    def folder(package: str) -> "list[Migration]":
        """`0001_channels.sql`, `0002_threads.sql` … of a package's resources, in order; also from a zip. Other files that do not
        end in .sql are left alone.

        Raises:
          ValueError: a hole, a number twice, a name that does not fit, an empty file, one that is not UTF-8, or none at all.
          ModuleNotFoundError: there is no such package.
        """
        found = sorted(
            (file for file in files(package).iterdir() if file.is_file() and file.name.endswith(".sql")),
            key=lambda file: file.name,
        )
        if not found:
            raise ValueError(f"Migration.folder({package!r}): no file there ends in .sql; the first is called 0001_….sql")
        return [_step_of(package, number, file.name, file.read_bytes()) for number, file in enumerate(found, 1)]


def _step_of(package: str, number: int, name: str, content: bytes) -> Migration:
    where = f"Migration.folder({package!r}): {name}"
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{where} has no number and name, as in 0001_channels.sql")
    if int(name.partition("_")[0]) != number:
        raise ValueError(f"{where} should be number {number:04}: the steps are numbered from 0001 without a hole or a double")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8: {error}") from error
    if not text.strip():
        raise ValueError(f"{where} is empty")
    return Migration(text, name=name)


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _source_of(function: Callable[[SQL], None], called: str) -> str:
    try:
        lines = getsource(function).splitlines()
    except (OSError, TypeError):  # run from an archive or a prompt, or not a plain function
        return called
    return dedent("\n".join(line.rstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")))


def as_migrations(steps: Sequence[str | Migration]) -> tuple[Migration, ...]:
    if isinstance(steps, str):
        raise TypeError(f"migrations is a list of steps, not one text: migrations = [{steps[:40]!r}…]")
    return tuple(step if isinstance(step, Migration) else Migration(step) for step in steps)


def pending(connection: apsw.Connection, steps: Sequence[Migration], room: str) -> Sequence[Migration]:
    """The steps that this room has not run.

    Raises:
      SchemaTooNew: the room has run more steps than there are.
      MigrationEdited: a step that ran here reads differently now.
    """
    ran = internal(connection, "SELECT version, name, hash FROM _migrations ORDER BY version")
    if len(ran) > len(steps):
        raise SchemaTooNew(
            f"{room} stands at migration {len(ran)} ({ran[-1][1]}), this program knows {len(steps)}. "
            "Nothing ran; run the newer program, or restore an older copy of the room.",
            room=room,
        )
    for (version, name, hash), step in zip(ran, steps, strict=False):
        if hash not in (step.hash, ""):  # "": the room was recovered, and how the step read is not known any more
            raise MigrationEdited(
                f"{room}: migration {version} ({name}) was edited after it ran here; it now reads {step.name!r}. "
                "Nothing ran; put the old text back and add a new step behind it.",
                room=room,
            )
    return steps[len(ran) :]


def run(sql: SQL, steps: Sequence[Migration], first_version: int, room: str) -> None:
    """Run steps inside the open transaction.

    Raises:
      MigrationFailed: a step raised; the caller rolls back.
    """
    for version, step in enumerate(steps, first_version):
        try:
            if isinstance(step.up, str):
                for statement in statements(step.up):
                    sql(statement)
            else:
                step.up(sql)
        except Exception as error:
            raise MigrationFailed(
                f"{room}: migration {version} ({step.name}) raised {reason(error)}. "
                "It was rolled back; the room is as it was before, and refuses calls until the step succeeds.",
                room=room,
            ) from error


def record(connection: apsw.Connection, steps: Sequence[Migration], first_version: int, now: float) -> None:
    rows = [(version, step.name, now, step.hash) for version, step in enumerate(steps, first_version)]
    internal_many(connection, "INSERT INTO _migrations (version, name, applied_at, hash) VALUES (?, ?, ?, ?)", rows)
