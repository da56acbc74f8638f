"""Names: of a room, of its file, and of the places in a data directory.

A room's file is named by a hash, so that no id can reach outside the directory, collide on a file system that folds case, or
end in `-wal`; the id itself is inside the file and in the catalog.
"""

from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from actors.errors import RoomIdInvalid
from actors.limits import ROOM_ID_BYTES_MAX


class RoomName(NamedTuple):
    """What identifies a room: the name of its class, and its id."""

    actor: str
    id: str

    def __str__(self) -> str:
        return f"{self.actor}/{self.id}"


def room_name(actor: str, id: str) -> RoomName:
    """A checked room name.

    Raises:
      RoomIdInvalid: not text, empty, longer than 1,024 bytes of UTF-8, or with a lone surrogate.
    """
    if not isinstance(id, str):  # pyright: ignore[reportUnnecessaryIsInstance]: callers without a type checker
        raise RoomIdInvalid(f"a room id is text, not {type(id).__name__}: {id!r}. Nothing ran.")
    if not id:
        raise RoomIdInvalid(f"the room id of {actor} is empty; it takes 1 to {ROOM_ID_BYTES_MAX} bytes of UTF-8. Nothing ran.")
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        raise RoomIdInvalid(f"the room id {id[:40]!a} holds a lone surrogate, which is not text. Nothing ran.") from error
    if size > ROOM_ID_BYTES_MAX:
        raise RoomIdInvalid(f"the room id {id[:40]!r}… has {size} bytes of UTF-8; the limit is {ROOM_ID_BYTES_MAX}. Nothing ran.")
    return RoomName(actor, id)


def room_file(name: RoomName) -> str:
    """The path of a room's file below `rooms/`: one level of 256 folders, then 128 bits of hash."""
    digest = blake2b(f"{name.actor}\0{name.id}".encode(), digest_size=16).hexdigest()
    return f"{digest[:2]}/{digest[2:]}.db"


FOLDERS = tuple(f"{number:02x}" for number in range(256))


class DataDir:
    """The places in one data directory. Makes nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rooms = path / "rooms"
        self.catalog = path / "catalog.db"
        self.lock = path / "lock"
        self.clean_stop = path / "clean-stop"
        self.litter = path / "litter"
        self.quarantine = path / "quarantine"

    @classmethod
    def at(cls, path: str | PathLike[str]) -> "DataDir":
        """By any path; kept absolute, so that a later chdir moves nothing."""
        return cls(Path(path).absolute())

    def room(self, name: RoomName) -> Path:
        return self.rooms / room_file(name)

    def folders(self) -> list[Path]:
        """The 256 folders below `rooms/`; made at the first start, so that no birth ever waits for a new parent (rule 6)."""
        return [self.rooms / name for name in FOLDERS]
