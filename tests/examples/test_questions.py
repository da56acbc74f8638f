"""The questions across rooms answer what plain Python finds in the same logs, and show nobody a room they are no member of."""

# ruff: noqa: E402 - examples import each other as they do when they are run
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "examples"))

import busiest
import inbox
import irc_events
import irc_loading
import search
from export import export, most_talkative
from irc_events import DAY, happened
from irc_rooms import ChatRoom, Directory

NICKS = ["ann", "bob", "cid", "[dan]", "e_`ve", "fay|away", "ünal"]
WORDS = ["kernel", "panic", "sudo", "apt-get", "hello", "wifi", "ubuntu", "日和", "\x1b[31mred", "100%", "it's", '"quoted"']
ROOMS = 14  # more than CLOSED_EVERY


def log(random: Random, lines: int) -> str:
    """Messages, actions and events of a few people, from before noon on a clock of 24 hours past midnight."""
    minute, text = random.randint(9 * 60, 11 * 60), []
    for _ in range(lines):
        minute += random.choice((0, 0, 1, 9))
        nick, body = random.choice(NICKS), " ".join(random.choices(WORDS, k=random.randint(1, 6)))
        clock = f"[{minute // 60 % 24:02}:{minute % 60:02}]"
        match random.choices(("message", "action", "join", "part", "nick", "notice"), (20, 1, 2, 2, 2, 1))[0]:
            case "message":
                text.append(f"{clock} <{nick}> {body}")
            case "action":
                text.append(f"{clock}  * {nick} {body}")
            case "join":
                text.append(f"=== {nick} [~x@example.org]  has joined #room")
            case "part":
                text.append(f"=== {nick} [~x@example.org]  has left #room []")
            case "nick":
                text.append(f"=== {nick} is now known as {random.choice(NICKS)}")
            case _:
                text.append("--- the log goes on")
    return "\n".join(text) + "\n"


class Message(NamedTuple):
    id: int
    author: str
    body: str
    sent_at: float


class Room:
    """What a room must have come to, by plain Python."""

    def __init__(self, path: Path) -> None:
        self.messages: list[Message] = []
        self.up_to: dict[str, int] = {}  # of members
        newest = 0
        for kind, nick, body, at in happened(path):
            match kind:
                case "message":
                    newest = max(round(at * 1000), newest + 1)
                    self.messages.append(Message(newest, nick, body, at))
                    self.up_to[nick] = newest
                case "join":
                    self.up_to.setdefault(nick, newest)
                case "part":
                    self.up_to.pop(nick, None)
                case "nick":
                    self.up_to[body] = self.up_to.pop(nick, newest)

    def unread(self, nick: str) -> int:
        return sum(message.id > self.up_to[nick] for message in self.messages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    random = Random(6)
    for number in range(ROOMS):
        (folder / f"day-{number:02}.log").write_text(log(random, 20 if number == 3 else 330))
    return folder


@pytest.fixture(scope="module")
def rooms(folder):
    return {path.name: Room(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def runtime(folder, tmp_path_factory):
    arguments = irc_loading.question("").parse_args([str(tmp_path_factory.mktemp("data")), "--log", str(folder)])
    with irc_loading.open_rooms(arguments) as runtime:
        yield runtime


def title(id: str) -> str:
    return id.removesuffix(".log")


# -- inbox ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("nick", NICKS)
def test_an_inbox_has_each_room_of_a_member_and_what_is_unread(runtime, rooms, nick):
    expected = []
    for id, room in rooms.items():
        if nick in room.up_to:
            last = room.messages[-1]
            expected.append((-last.sent_at, id, title(id), last.author, last.body, room.unread(nick)))
    found = [(row.title, row.author, row.body, row.unread) for row in inbox.inbox(runtime, nick)]
    assert found == [row[2:] for row in sorted(expected)]
    assert found


def test_an_inbox_shows_no_room_that_its_owner_is_no_member_of(runtime, rooms):
    outside = {nick: {title(id) for id, room in rooms.items() if nick not in room.up_to} for nick in NICKS}
    assert any(outside.values()), "somebody left a room"
    for nick in NICKS:
        assert not outside[nick] & {row.title for row in inbox.inbox(runtime, nick)}
    assert inbox.inbox(runtime, "nobody") == []


def test_you_are_in_all_rooms_but_each_twelfth(runtime, rooms):
    assert len(inbox.inbox(runtime, irc_loading.YOU)) == ROOMS - ROOMS // irc_loading.CLOSED_EVERY
    assert title(list(rooms)[11]) not in {row.title for row in inbox.inbox(runtime, irc_loading.YOU)}


def test_what_was_just_said_read_or_left_is_in_the_next_inbox(runtime):
    def unread(nick):
        return {row.title: row.unread for row in inbox.inbox(runtime, nick)}

    room = runtime.room(ChatRoom, "new")
    runtime.room(Directory, "main").add({"new": "new"})
    room.join("gus")
    room.post("ida", "one")
    newest = room.post("ida", "two")
    assert unread("gus") == {"new": 2}
    assert unread("ida") == {"new": 0}
    room.mark_read("gus", newest)
    room.mark_read("gus", 1)  # an older device
    assert unread("gus") == {"new": 0}
    room.rename("gus", "gus_")
    assert (unread("gus"), unread("gus_")) == ({}, {"new": 0})
    room.part("gus_")
    assert unread("gus_") == {}


def test_nothing_is_kept_of_what_somebody_read_before_they_left(runtime):
    left = "SELECT room_id, nick FROM ChatRoom_reads EXCEPT SELECT room_id, nick FROM ChatRoom_members"
    assert runtime.across({ChatRoom: "all"}).sql(left) == []


# -- search -----------------------------------------------------------------------------------------------------------
def tokens(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def has(body: str, phrase: str) -> bool:
    there, wanted = tokens(body), tokens(phrase)
    return any(there[place : place + len(wanted)] == wanted for place in range(len(there)))


@pytest.mark.parametrize(
    "phrases", [("kernel",), ("Kernel", "panic"), ("kernel panic",), ("apt-get", "日和"), ("ünal",), ("31mred",)]
)
@pytest.mark.parametrize("nick", NICKS)
def test_a_search_finds_the_words_in_the_rooms_of_a_member_and_nowhere_else(runtime, rooms, nick, phrases):
    expected = [
        (-message.id, id, message.author, message.body)
        for id, room in rooms.items()
        if nick in room.up_to
        for message in room.messages
        if all(has(message.body, phrase) for phrase in phrases)
    ]
    words = " ".join(f'"{phrase}"' if " " in phrase else phrase for phrase in phrases)
    found = search.search(runtime, nick, words, limit=1_000)
    assert [(-row.id, row.room_id, row.author, row.body) for row in found] == sorted(expected)[:1_000]
    assert bool(found) == (phrases != ("ünal",)), "nobody says a nick there"
    assert search.search(runtime, nick, words, limit=3) == found[:3]


def test_a_search_shows_nothing_of_a_room_once_somebody_has_left_it(runtime):
    room = runtime.room(ChatRoom, "secret")
    room.join("joe")
    room.post("kim", "the password is xyzzy")
    assert [row.room_id for row in search.search(runtime, "joe", "xyzzy")] == ["secret"]
    assert search.search(runtime, "nobody", "xyzzy") == []
    room.part("joe")
    assert search.search(runtime, "joe", "xyzzy") == []


# -- busiest ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("days", [-1, 0, 1])
def test_the_busiest_rooms_are_those_with_the_most_messages_of_that_day(runtime, rooms, days):
    begin = DAY + 86_400 * days
    expected = []
    for id, room in rooms.items():
        that_day = [message for message in room.messages if begin <= message.sent_at < begin + 86_400]
        if that_day:
            times = [message.sent_at for message in that_day]
            people = {message.author for message in that_day}
            expected.append((-len(that_day), id, title(id), len(people), min(times), max(times)))
    found = busiest.busiest(runtime, datetime.fromtimestamp(begin, UTC), limit=5)
    assert [(-row.messages, row.title, row.people, row.first, row.last) for row in found] == [
        (row[0], *row[2:]) for row in sorted(expected)[:5]
    ]
    assert bool(found) == (days >= 0), "the logs go past midnight"


# -- export -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows_a_page", [1_000, 7])
@pytest.mark.parametrize("nick", NICKS)
def test_an_export_is_everything_that_somebody_wrote_and_nothing_else(runtime, rooms, nick, rows_a_page, monkeypatch):
    monkeypatch.setattr("export.PAGE_ROWS", rows_a_page)
    expected = [
        {"room": id, "id": message.id, "sent_at": message.sent_at, "body": message.body}
        for id, room in rooms.items()
        for message in room.messages
        if message.author == nick
    ]
    assert [*export(runtime, nick)] == expected
    assert expected


def test_the_most_talkative_wrote_most(runtime, rooms):
    counts = Counter(message.author for room in rooms.values() for message in room.messages)
    assert counts[most_talkative(runtime)] == max(counts.values())


# -- the data ---------------------------------------------------------------------------------------------------------
def test_a_log_of_twelve_hours_goes_past_noon_and_midnight(tmp_path):
    (path := tmp_path / "a.log").write_text(
        "[11:59] <ann> a\n[12:10] <ann> b\n[01:00] <ann> c\n[11:00] <ann> d\n[12:05] <ann> e\n"
    )
    hours = [(event.at - DAY) / 3600 for event in happened(path)]
    assert hours == [11 + 59 / 60, 12 + 10 / 60, 13, 23, 24 + 5 / 60]


def test_a_loading_that_was_cut_short_goes_on_where_it_was(folder, rooms, tmp_path):
    arguments = irc_loading.question("").parse_args([str(tmp_path), "--log", str(folder)])
    half = {id: arguments.log[id] for id in [*arguments.log][:4]}
    with irc_loading.open_runtime(tmp_path, [ChatRoom, Directory]) as runtime:
        for id, events in half.items():
            runtime.room(ChatRoom, id).replay([*events()][:100])  # and the directory does not know the room yet
    with irc_loading.open_rooms(arguments) as runtime:
        for nick in NICKS:
            written = [(row.room, row.body) for row in export(runtime, nick)]
            assert written == [(id, m.body) for id, room in rooms.items() for m in room.messages if m.author == nick]


def test_the_made_up_chat_is_always_the_same():
    once, again = (irc_events.made_up(rooms=5, people=20, lines=300) for _ in range(2))
    assert {id: [*events()] for id, events in once.items()} == {id: [*events()] for id, events in again.items()}
    assert sum(len([*events()]) for events in once.values()) > 250


# -- the commands -----------------------------------------------------------------------------------------------------
def run(name: str, *arguments: object) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, f"examples/{name}", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_each_question_is_one_command_and_only_the_first_run_loads(folder, rooms, tmp_path):
    out, err = run("inbox.py", tmp_path, "--log", folder, "--who", "ann")
    assert "loaded" in err
    assert f"in {sum('ann' in room.up_to for room in rooms.values())} rooms; one statement" in out
    assert "\x1b" not in out, "what people write commands no terminal"
    out, err = run("busiest.py", tmp_path, "--day", "2024-05-01")
    assert "10 busiest rooms of 01 May 2024" in out
    assert not err
    out, err = run("export.py", tmp_path, "--who", "bob")
    written = [m for room in rooms.values() for m in room.messages if m.author == "bob"]
    assert len([json.loads(line) for line in out.splitlines()]) == len(written)
    assert err.startswith(f"bob: {len(written):,} messages in ")


def test_without_logs_there_is_a_made_up_chat(tmp_path):
    out, err = run("inbox.py", tmp_path)
    assert "of 60 rooms in" in err
    assert "in 55 rooms; one statement" in out


def test_a_folder_without_logs_is_said_at_once(tmp_path):
    done = subprocess.run(
        [sys.executable, "examples/inbox.py", str(tmp_path / "data"), "--log", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "holds no .log or .txt files" in done.stderr
    assert not (tmp_path / "data").exists()
