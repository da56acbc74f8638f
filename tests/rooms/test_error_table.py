"""The table of errors in README.md is the truth: every class, and what its attributes say."""

import re
from pathlib import Path

import pytest

import durable_rooms
from actors import errors
from durable_rooms import CallFailed, CallRefused, CallTimeout, Overloaded, RoomsError

README = Path(__file__).parent.parent.parent / "README.md"
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|\s*$", re.MULTILINE)
CLASSES = {name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, RoomsError)}
GENERAL = {"RoomsError"}  # never raised itself


def rows() -> dict[str, list[str]]:
    """Of the table whose head names `ran` and `retryable`, by class: what follows the name."""
    text = README.read_text(encoding="utf-8")
    found = re.search(r"^\| Error \| When \| `ran` \| `retryable` \|.*?(?=\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        pytest.skip("README.md has no table of errors yet")
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in ROW.findall(found[0])}


def test_the_table_names_every_error_once() -> None:
    assert rows().keys() == CLASSES.keys() - GENERAL


def test_the_table_says_of_each_error_whether_it_ran_and_whether_to_repeat_it() -> None:
    for name, (_, ran, retryable, *_) in rows().items():
        one = CLASSES[name]
        assert ran.split(",")[0] == one.ran, f"{name}: ran"
        assert retryable.split(",")[0] == ("yes" if one.retryable else "no"), f"{name}: retryable"


def test_every_error_has_the_attributes_and_its_class_answers_did_it_run() -> None:
    for name, one in CLASSES.items():
        error = one("words", room="Chat/a")
        assert (str(error), error.room, error.method) == ("words", "Chat/a", ""), name
        assert error.ran in ("no", "rolled back", "unknown"), name
        assert isinstance(error.retryable, bool), name
        assert error.overloaded == isinstance(error, Overloaded), name
        assert getattr(durable_rooms, name) is one
        if isinstance(error, CallRefused):
            assert error.ran == "no", name
        if isinstance(error, CallFailed):
            assert error.ran in ("no", "rolled back"), name
    assert CallTimeout("words", ran="unknown").ran == "unknown"
