"""`durable-rooms rooms` lists every room once, opens none, and no room's id can do anything to the terminal."""

import json
import subprocess
from pathlib import Path

import pytest
from rich.cells import cell_len

from durable_rooms.inspect import Selection, rooms, sums
from durable_rooms.inspect.catalog import PAGE_ROOMS_MAX
from tests.cli.running import PROGRAM, ROOT, catalog, command, room, service
from tests.demo.hand_made import HandMade, files

HOSTILE = ["\x1b[31mred", "tab\tnew\nline", "\u202egnp.exe", "x" * 1_000, "日本語の部屋" * 10, "--json", "[bold]markup[/bold]"]


def listed(data: Path, *options: object) -> list[str]:
    return [json.loads(line)["id"] for line in command("rooms", data, "--json", *options).stdout.splitlines()]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    some = [room("a1"), room("a2", sick="CorruptError: malformed"), room("b1", active=True), room("a3", "Lobby")]
    return catalog(tmp_path / "data", some)


def test_every_room_is_listed_once_over_many_pages(tmp_path: Path):
    count = 2 * PAGE_ROOMS_MAX + 3
    catalog(tmp_path / "data", [room(f"{n:05}", f"Class{n % 2}") for n in range(count)])
    found = [(row.actor, row.id) for row in rooms(tmp_path / "data", Selection())]
    assert found == sorted({(f"Class{n % 2}", f"{n:05}") for n in range(count)})


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ([], ["a1", "a2", "b1", "a3"]),
        (["--actor", "Lobby"], ["a3"]),
        (["--prefix", "a"], ["a1", "a2", "a3"]),
        (["--actor", "ChatRoom", "--after", "a1"], ["a2", "b1"]),
        (["--limit", 2], ["a1", "a2"]),
        (["--sick"], ["a2"]),
        (["--actor", "Nobody"], []),
        (["--prefix", "%"], []),
    ],
)
def test_the_options_choose_rooms(data: Path, options: list[object], ids: list[str]):
    assert listed(data, *options) == ids


def test_a_line_tells_state_position_schema_and_size_and_a_sick_room_its_reason(data: Path):
    lines = command("rooms", data, COLUMNS="80").stdout.splitlines()
    assert lines[0] == "ChatRoom"
    assert lines[1].split() == ["ID", "STATE", "SEQ", "SCHEMA", "SIZE", "LAST", "ACTIVE"]
    assert lines[2].split()[:7] == ["a1", "at", "rest", "7", "2", "20.0", "KiB"]
    assert lines[3].split()[:2] == ["a2", "SICK"]
    assert lines[4] == "    CorruptError: malformed"
    assert lines[5].split()[:2] == ["b1", "active"]
    assert lines[-3] == "4 rooms in 2 classes, 80.0 KiB, 1 active, 1 SICK"


def test_a_wide_terminal_gets_the_creation_too(data: Path):
    assert command("rooms", data, COLUMNS="120").stdout.splitlines()[1].endswith("CREATED")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_hostile_ids_do_nothing_to_a_terminal_and_fit_it(tmp_path: Path, width: int):
    data = catalog(tmp_path / "data", [room(id) for id in HOSTILE])
    said = command("rooms", data, COLUMNS=str(width), FORCE_COLOR="1").stdout
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert len(said.splitlines()) == len(HOSTILE) + 4
    if width >= 80:
        assert max(map(cell_len, said.splitlines())) <= width
        assert "\\x1b[31mred" in said
        assert "[bold]markup" in said


def test_outside_a_terminal_ids_are_whole(tmp_path: Path):
    data = catalog(tmp_path / "data", [room("x" * 1_000)])
    assert "x" * 1_000 in command("rooms", data).stdout


def test_json_says_null_for_what_is_not_known(tmp_path: Path):
    made = HandMade(tmp_path / "data")  # a catalog of format 1
    made.room("den", [(1, "u", "k", "a", "b", 0.0)])
    (line,) = command("rooms", made.path, "--json").stdout.splitlines()
    assert json.loads(line) == {
        "actor": "ChatRoom",
        "id": "den",
        "file": "ab/000.db",
        "active": False,
        "proven": True,
        "epoch": 1,
        "seq": 1,
        "version": None,
        "created": None,
        "last_active": None,
        "bytes": None,
        "sick": None,
    }
    assert "den" in command("rooms", made.path).stdout
    assert command("rooms", made.path, "--sick", "--json").stdout == ""


def test_rooms_behind_in_migrations_are_counted(tmp_path: Path):
    some = [room("old", version=1), room("now", version=3), room("unknown", version=0), room("sick", version=1, sick="x")]
    (found,) = sums(catalog(tmp_path / "data", some, version=3))
    assert (found.rooms, found.behind, found.sick) == (4, 1, 1)


def test_it_leaves_no_trace(data: Path):
    before = files(data)
    command("rooms", data)
    assert files(data) == before


def test_it_lists_beside_a_running_process(tmp_path: Path):
    with service(tmp_path / "data"):
        assert set(listed(tmp_path / "data", "--prefix", "room-")) == {f"room-{n}" for n in range(6)}


@pytest.mark.parametrize(("name", "why"), [("", "no catalog.db"), ("nowhere", "is not there"), ("file", "is a file")])
def test_what_is_no_data_directory_is_refused_with_exit_code_2(tmp_path: Path, name: str, why: str):
    (tmp_path / "file").write_text("")
    assert why in command("rooms", tmp_path / name, code=2).stderr


def test_what_is_not_utf_8_is_refused_with_exit_code_2(data: Path):
    assert "is not UTF-8" in command("rooms", data, "--prefix", b"\xff".decode("utf-8", "surrogateescape"), code=2).stderr


def test_an_id_alone_says_nothing_where_there_are_several_classes(data: Path):
    assert "--actor" in command("rooms", data, "--after", "a1", code=2).stderr


def test_a_reader_who_has_seen_enough_ends_it_quietly(tmp_path: Path):
    data = catalog(tmp_path / "data", [room(f"{n:05}") for n in range(5_000)])
    with subprocess.Popen(
        [*PROGRAM, "rooms", str(data)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ChatRoom\n"
        process.stdout.close()
        assert process.stderr.read() == ""
