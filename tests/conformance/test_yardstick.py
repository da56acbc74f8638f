"""The yardstick is complete: each number is cited by a test, or listed with the reason why it cannot be; never both."""

import ast
from pathlib import Path

import pytest

from tests.conformance.behaviours import BEHAVIOURS
from tests.conformance.statements import STATEMENTS

TABLES = {"statement": STATEMENTS, "behaviour": BEHAVIOURS}


def cited(table: str) -> dict[int, list[str]]:
    """Which tests cite each number, read from their text, so that one that does not run is seen as well."""
    found: dict[int, list[str]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == table:
                        for number in mark.args:
                            assert isinstance(number, ast.Constant)
                            found.setdefault(number.value, []).append(f"{path.name}:{node.name}")
    return found


@pytest.mark.parametrize(("table", "count"), [("statement", 48), ("behaviour", 30)])
def test_the_table_has_each_number_once_and_in_order(table, count) -> None:
    assert list(TABLES[table]) == list(range(1, count + 1))


@pytest.mark.parametrize("table", TABLES)
def test_what_applies_is_shown_by_a_test_and_nothing_else_is(table) -> None:
    applies = {number for number, verdict in TABLES[table].items() if not verdict.why_not}
    shown = cited(table)
    assert sorted(applies - shown.keys()) == []
    assert sorted(shown.keys() - applies) == []


def test_every_test_here_says_given_when_then() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.decorator_list:
                marks = {mark.func.id for mark in node.decorator_list if isinstance(mark, ast.Call) and hasattr(mark.func, "id")}
                if marks & TABLES.keys():
                    assert "hen " in (ast.get_docstring(node) or ""), f"{path.name}: {node.name}"
