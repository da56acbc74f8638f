"""What a person types finds what they mean, and nothing they type is an error."""

import unicodedata
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.statements.words import TERMS_MAX, WORDS_MAX
from durable_rooms import Actor, StatementRefused, TooLarge
from durable_rooms.testing import bare
from tests.fulltext.reading import found


class Chat(Actor):
    migrations: ClassVar = ["CREATE TABLE messages (id INTEGER PRIMARY KEY, title TEXT, body TEXT)"]
    fulltext: ClassVar = {"messages": ["title", "body"]}

    def post(self, *bodies: str, title: str = "") -> None:
        self.sql.many("INSERT INTO messages (title, body) VALUES (?, ?)", [(title, body) for body in bodies])

    def find(self, words: Any, limit: Any = 50) -> list[int]:
        return [row.id for row in self.sql.match("messages", words, limit=limit)]

    def first(self, words: str) -> Any:
        return self.sql.match("messages", words).first()

    def match(self, table: str) -> Any:
        return self.sql.match(table, "x")


BODIES = [
    "the kernel does not boot",  # 1
    "boot the kernel, twice",
    "Việt Nam, naïve café",
    "NOT a kernel AND nothing OR NEAR(you)",
    'she said "hello world" and left',
    "world, hello",
    "c++ is not c--, e-mail: ann@example.org",
    "nul\0here",
    "приве́т мир",
    "rock'n'roll at 5:30 {body} : ^x title",
]


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        ("kernel", [4, 2, 1]),
        ("KERNEL boot", [2, 1]),
        ("boot kernel", [2, 1]),
        ('"the kernel"', [2, 1]),
        ('"kernel the"', []),
        ("boo*", [2, 1]),
        ("oot", []),
        ('"hello wor"*', [5]),
        ('"hello wor', []),
        ('"hello world', [5]),
        ("hello world", [6, 5]),
        ("viet cafe NAIVE", [3]),
        ("việt", [3]),
        ("привет", [9]),
        ("OR", [4]),
        ("near(you)", [4]),
        ("NOT", [7, 4, 1]),
        ("e-mail", [7]),
        ("ann@example.org", [7]),
        ("title", [10]),
        ("{body}", [10]),
        ("body:5", []),
        ("kernel !!! ***", [4, 2, 1]),
        ("!!!", []),
        ("*", []),
        ('"', []),
        ('""', []),
        ("", []),
        (" \t\n", []),
        ("here", [8]),
        ("nul\0here", [8]),
    ],
)
def test_a_search_finds_what_was_meant(words: str, ids: list[int]) -> None:
    room = bare(Chat)
    room.post(*BODIES)
    assert room.find(words) == ids


def test_each_word_may_be_in_another_column() -> None:
    room = bare(Chat)
    room.post("the kernel", title="boot")
    assert room.find("kernel boot") == [1]
    assert room.find('"boot the"') == []


def test_a_row_found_is_a_whole_row_of_the_table() -> None:
    room = bare(Chat)
    room.post("hello", title="greeting")
    assert room.first("hello") == {"id": 1, "title": "greeting", "body": "hello"}


def test_a_search_ends_at_its_limit_with_the_newest() -> None:
    room = bare(Chat)
    room.post(*["hello"] * 60)
    assert room.find("hello") == list(range(60, 10, -1))
    assert room.find("hello", 3) == [60, 59, 58]


@pytest.mark.parametrize("limit", [0, -1, 1_001, 1.5, True, "3", None])
def test_a_limit_out_of_its_bounds_is_refused(limit: Any) -> None:
    with pytest.raises(ValueError, match="1 to 1,000"):
        bare(Chat).find("x", limit)


@pytest.mark.parametrize("words", ["x" * (WORDS_MAX + 1), "x " * (TERMS_MAX + 1)])
def test_a_search_that_nobody_typed_is_too_large(words: str) -> None:
    with pytest.raises(TooLarge, match="search") as caught:
        bare(Chat).find(words)
    assert caught.value.ran == "rolled back"


def test_words_are_text() -> None:
    with pytest.raises(TypeError, match="words"):
        bare(Chat).find(None)


@pytest.mark.parametrize("table", ["notes", "Messages", "_fulltext_messages", "_outbox", "sqlite_schema", ""])
def test_only_what_the_class_declares_can_be_searched(table: str) -> None:
    with pytest.raises(StatementRefused, match="fulltext"):
        bare(Chat).match(table)


LETTERS = "aAbBéÉ1 2\"*'-.:()!{}^+\t\n_"
pieces = st.text(st.sampled_from(LETTERS), max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=8), st.lists(pieces, min_size=1, max_size=6))
def test_every_input_finds_what_brute_force_finds(bodies: list[str], searches: list[str]) -> None:
    room = bare(Chat)
    room.post(*bodies)
    rows = [(id, "", body) for id, body in enumerate(bodies, 1)]
    for words in searches:
        assert room.find(words) == [row[0] for row in found(rows, [1, 2], words, [0])]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40).filter(lambda text: not any(unicodedata.category(c) == "Cs" for c in text)))
def test_no_input_is_an_error(words: str) -> None:
    room = bare(Chat)
    room.post(words)
    assert room.find(words) in ([], [1])
