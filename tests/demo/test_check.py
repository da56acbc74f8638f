"""The check believes the files and the ledger, and each kind of broken promise shows as what it is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from durable_rooms.demo.check import Findings, check
from durable_rooms.demo.ledger import Ledger
from durable_rooms.demo.line import Line
from tests.demo.hand_made import HandMade, change

LINES = [Line("message", "ann", f"line {n}") for n in range(6)]


def row(number: int, line: Line) -> tuple[object, ...]:
    return (number + 1, f"run-{number}", *line, 1.5)


@pytest.fixture
def ledger() -> Ledger:
    """Four acknowledged posts, then one unknown, then one refused."""
    ledger = Ledger("run")
    for line in LINES:
        ledger.post("den", line)
    for number in range(4):
        ledger.acknowledge(number, 0.01)
    ledger.lose_sight(4)
    ledger.refuse(5, "no", "Overloaded")
    return ledger


@pytest.fixture
def checked(tmp_path: Path, ledger: Ledger) -> Callable[..., Findings]:
    """Check a room with these rows (all by default), in room and replica alike."""

    def run(rows: list[tuple[object, ...]], spoil: str = "") -> Findings:
        made = HandMade(tmp_path / "data")
        path = made.room("den", rows)
        if spoil:
            change(path, spoil)
        return check(made.path, ledger, lambda what, done: None)

    return run


def counts(findings: Findings) -> dict[str, int]:
    names = ("lost", "duplicated", "found", "absent", "undone", "strange")
    return {name: getattr(findings, name) for name in names if getattr(findings, name)}


def test_all_acknowledged_lines_present_once_is_clean_whether_the_unknown_one_is_there_or_not(checked: Callable[..., Findings]):
    findings = checked([row(n, LINES[n]) for n in range(5)])
    assert counts(findings) == {"found": 1}
    assert findings.clean


def test_an_unknown_line_may_be_absent(checked: Callable[..., Findings]):
    findings = checked([row(n, LINES[n]) for n in range(4)])
    assert counts(findings) == {"absent": 1}
    assert findings.clean


def test_an_acknowledged_line_that_is_missing_is_lost(checked: Callable[..., Findings]):
    findings = checked([row(n, LINES[n]) for n in (0, 1, 3)])
    assert counts(findings) == {"lost": 1, "absent": 1}
    assert findings.examples == ["run-2 was acknowledged and is not there"]
    assert not findings.clean


def test_an_acknowledged_line_with_another_body_is_lost_and_strange(checked: Callable[..., Findings]):
    findings = checked([row(0, LINES[1]), *(row(n, LINES[n]) for n in range(1, 4))])
    assert counts(findings) == {"lost": 1, "strange": 1, "absent": 1}


def test_a_line_that_is_there_twice_is_duplicated(checked: Callable[..., Findings]):
    findings = checked([*(row(n, LINES[n]) for n in range(4)), (9, "run-3", *LINES[3], 1.5)])
    assert counts(findings) == {"duplicated": 1, "absent": 1}
    assert not findings.clean


def test_a_refused_line_that_is_there_breaks_a_promise_too(checked: Callable[..., Findings]):
    assert counts(checked([row(n, LINES[n]) for n in (0, 1, 2, 3, 5)])) == {"undone": 1, "absent": 1}


def test_a_room_that_differs_from_the_replica_is_not_clean(checked: Callable[..., Findings]):
    findings = checked([row(n, LINES[n]) for n in range(4)], spoil="UPDATE messages SET sent_at = 2.5 WHERE id = 2")
    assert not findings.clean
    assert findings.replica.differing == 1


def test_a_room_file_that_is_gone_has_lost_all_its_lines(tmp_path: Path, ledger: Ledger):
    made = HandMade(tmp_path / "data")
    made.room("den", [row(n, LINES[n]) for n in range(4)]).unlink()
    assert check(made.path, ledger, lambda what, done: None).lost == 4
