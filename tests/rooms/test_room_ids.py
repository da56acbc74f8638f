"""Any text is a room's id, and none of it reaches the file system."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors import DataDir, RoomName
from actors.names import room_name
from durable_rooms import RoomIdInvalid
from durable_rooms.testing import open_test_runtime
from tests.rooms.chat import ChatRoom, path_of

HOSTILE = [
    "../x",
    "../../../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    ".",
    "..",
    " ",
    "\0",
    "a\0b",
    "a",
    "A",
    "x.db",
    "x.db-wal",
    "x.db-shm",
    "CON",
    "con",
    "NUL.txt",
    "\u202egnp.exe",
    "\ufeff",
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "ß",
    "ss",
    "\n",
    "'; DROP TABLE rooms; --",
    "%00",
    "\U0001f600" * 256,
    "x" * 1024,
    "file:x?mode=memory",
    ":memory:",
    "*",
    "-rf",
]


async def test_f39_hostile_ids_are_as_many_rooms_and_stay_inside_the_directory(tmp_path: Path, autojump_clock) -> None:
    path = tmp_path / "data"
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        for n, id in enumerate(HOSTILE):
            await runtime.room(ChatRoom, id).post(f"{n}")
    async with open_test_runtime(ChatRoom, path=path) as runtime:
        for n, id in enumerate(HOSTILE):
            room = runtime.room(ChatRoom, id)
            assert room.id == id
            assert await room.bodies() == [f"{n}"]
        assert len({path_of(runtime, runtime.room(ChatRoom, id)) for id in HOSTILE}) == len(HOSTILE)
    assert list(tmp_path.iterdir()) == [path]
    files = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    assert all(file in ("catalog.db", "lock", "clean-stop", "bookmark-key") or file.startswith("rooms/") for file in files)
    assert sum(file.endswith(".db") for file in files) == len(HOSTILE) + 1


@pytest.mark.parametrize(
    ("id", "why"),
    [
        ("", "empty"),
        ("x" * 1025, "1025 bytes"),
        ("é" * 513, "1026 bytes"),
        ("\ud800", "surrogate"),
        (b"x", "text, not bytes"),
        (5, "not int"),
        (None, "text"),
    ],
)
async def test_f39_what_is_no_id_is_refused_when_the_stub_is_made(id: object, why: str, autojump_clock) -> None:
    async with open_test_runtime(ChatRoom) as runtime:
        with pytest.raises(RoomIdInvalid, match=why) as caught:
            runtime.room(ChatRoom, id)  # pyright: ignore[reportArgumentType]
        assert caught.value.ran == "no"
        assert isinstance(caught.value, ValueError)
        str(caught.value).encode()  # it can be printed


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=250))
@settings(deadline=None)
def test_every_text_has_a_plain_path_of_its_own(id: str) -> None:
    rooms = DataDir(Path("data")).rooms
    path = DataDir(Path("data")).room(room_name("ChatRoom", id))
    folder, name = path.relative_to(rooms).parts
    assert len(folder) == 2
    assert name.endswith(".db")
    assert (folder + name.removesuffix(".db")).isalnum()
    assert path != DataDir(Path("data")).room(RoomName("ChatRoom", id + "x"))


async def test_an_actor_knows_its_id(autojump_clock) -> None:
    class Knows(ChatRoom):
        def who(self) -> str:
            return self.id

    async with open_test_runtime(Knows) as runtime:
        for id in HOSTILE[:5]:
            assert await runtime.room(Knows, id).who() == id
