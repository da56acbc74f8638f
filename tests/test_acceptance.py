"""The acceptance cases that are tests: each has one whose name, or the first word of whose docstring, is its number."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

CASES = {
    "F01": "SIGKILL under load",
    "F02": "the power fails at any event",
    "F04": "a build without syncs",
    "F05": "the sync of a WAL fails once",
    "F06": "the same, a kill, a restart and a power cut",
    "F07": "a sync fails in a checkpoint",
    "F08": "the n-th operation fails, for every n",
    "F09": "no space in a commit",
    "F10": "the floor of free space is crossed",
    "F11": "another process holds a room's write lock",
    "F12": "another process's reader pins a WAL",
    "F13": "bytes of a room's file are flipped",
    "F14": "a room's file is truncated, empty or random",
    "F15": "bytes at the end of a WAL are flipped",
    "F16": "a second process opens the directory",
    "F17": "a forked child outlives its parent",
    "F18": "a stale owner",
    "F19": "a thousand tasks wake one room",
    "F20": "a handler raises",
    "F21": "a constructor or a migration raises",
    "F22": "a durable message is poison",
    "F23": "a handler never returns",
    "F24": "a statement never returns",
    "F25": "callers are cancelled",
    "F29": "the replica is away under load",
    "F30": "the replica hangs",
    "F31": "the replica refuses a row",
    "F32": "a crash between the replica's rows and its cursor",
    "F33": "the replica's file is deleted, old or another's",
    "F34": "the wall clock jumps",
    "F37": "few file descriptors, many rooms",
    "F38": "100,000 rooms on disk",
    "F39": "hostile room ids",
    "F41": "something is too large",
    "F42": "statements that no handler may run",
    "F43": "reads that reach for the rows of other rooms",
    "F48": "SIGTERM under load",
    "F49": "directories of an older and of a newer version",
    "F50": "file systems that cannot hold rooms",
}


def numbers_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    in_name = re.match(r"test((?:_f\d\d)+)_", function.name)
    in_docstring = re.match(r"F\d\d\b", ast.get_docstring(function) or "")
    found = in_name[1].upper().split("_")[1:] if in_name else []
    return {*found, *([in_docstring[0]] if in_docstring else [])}


@cache
def carried() -> set[str]:
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found |= numbers_of(node)
    return found


@pytest.mark.parametrize("number", CASES)
def test_an_acceptance_case_is_a_test_that_carries_its_number(number: str) -> None:
    assert number in carried(), f"{number} ({CASES[number]}) has no test"


def test_a_number_counts_only_at_the_beginning() -> None:
    def numbers(text: str) -> set[str]:
        (function,) = ast.parse(text).body
        assert isinstance(function, ast.FunctionDef)
        return numbers_of(function)

    assert numbers("def test_f13_f14_x(): 'F15: y'") == {"F13", "F14", "F15"}
    assert numbers("def test_like_f13(): 'as in F14'") == set()
