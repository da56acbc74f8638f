"""A record's ratio, and when a target counts as reached."""

import json

import pytest

from benchmarks import report
from benchmarks.records import Record, Target, missed

KEYS = {"benchmark", "case", "value", "unit", "ceiling", "ratio", "at_least", "aim", "passed"}


def record(value, **more):
    return Record(benchmark="b", case="c", value=value, unit="posts/s", **more)


@pytest.mark.parametrize(
    ("value", "verdict", "passed"),
    [(19.9, "missed", False), (20, "reached", True), (34.9, "reached", True), (35, "reached aim", True)],
)
def test_target_is_about_the_ratio_where_there_is_a_ceiling(value, verdict, passed):
    found = record(value, ceiling=100, target=Target(0.2, 0.35))
    assert (found.verdict, found.passed) == (verdict, passed)
    assert found.ratio == value / 100


@pytest.mark.parametrize(
    ("value", "verdict", "passed"),
    [(101, "missed", False), (100, "reached", True), (66, "reached", True), (65, "reached aim", True)],
)
def test_lower_is_better_turns_the_comparison_round(value, verdict, passed):
    found = record(value, target=Target(100, 65), lower_is_better=True)
    assert (found.verdict, found.passed, found.ratio) == (verdict, passed, None)


def test_a_figure_without_target_is_neither_passed_nor_missed():
    found = record(1)
    assert (found.passed, found.verdict) == (None, "")
    assert missed([found]) == []


def test_json_has_the_promised_keys_and_reads_back(tmp_path):
    records = [record(50, ceiling=100, target=Target(0.2, 0.35), note="p50 1 ms"), record(3)]
    report.write_json(records, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert all(set(entry) >= KEYS for entry in found)
    assert found[0]["ratio"] == 0.5
    assert (found[0]["at_least"], found[0]["aim"], found[0]["passed"]) == (0.2, 0.35, True)
    assert (found[1]["ceiling"], found[1]["at_least"], found[1]["passed"]) == (None, None, None)


def test_an_absolute_target_is_about_the_figure_although_something_stands_beside_it():
    rate = record(600, ceiling=10_000, target=Target(500, 1_500), absolute=True)
    assert (rate.verdict, rate.ratio) == ("reached", 0.06)
    latency = record(3, ceiling=1, target=Target(2, 1), absolute=True, lower_is_better=True)
    assert (latency.verdict, latency.ratio) == ("missed", 3)


def test_a_figure_over_time_is_in_the_json():
    assert record(1, series={"seconds": [0.0, 1.0], "rss": [2.0, 3.0]}).as_json()["series"]["rss"] == [2.0, 3.0]
    assert "series" not in record(1).as_json()
