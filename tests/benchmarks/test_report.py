"""What people see: the table, the ending, the pictures, wrong usage."""

from io import StringIO

import pytest

from benchmarks import plots, report
from benchmarks.__main__ import main
from benchmarks.records import Record, Target
from benchmarks.registry import BENCHMARKS, paragraph

RECORDS = [
    Record(
        benchmark="hot_room",
        case="256 callers",
        value=41_234.5,
        unit="posts/s",
        ceiling=170_000,
        target=Target(0.15, 0.25),
        note="p50",
    ),
    Record(benchmark="lag", case="p99", value=120, unit="ms", target=Target(100, 65), lower_is_better=True),
    Record(benchmark="lag", case="p50", value=0.0123, unit="ms", lower_is_better=True),
]


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (41_234.5, "41,234"), (12.34, "12.3"), (0.256, "0.26"), (0.0123, "0.012"), (0, "0.000")]
)
def test_numbers_are_short(value, text):
    assert report.number(value) == text


def test_plain_table_has_a_line_a_record():
    out = StringIO()
    report.print_records(RECORDS, out)
    lines = out.getvalue().strip().splitlines()
    assert len(lines) == 1 + len(RECORDS)
    assert lines[0].split() == ["benchmark", "case", "value", "unit", "ceiling", "ratio", "at", "least", "aim", "verdict"]
    assert "0.24" in lines[1]
    assert "≤ 100" in lines[2]
    assert lines[2].endswith("missed")


def test_the_ending_names_what_was_missed_and_what_was_not_measured():
    out = StringIO()
    report.print_ending(RECORDS, {"lag": "Not measured: readers."}, out)
    assert "lag: readers." in out.getvalue()
    assert "1 of 2 targets reached, 0 of them with their aim. Missed: lag (p99)." in out.getvalue()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_measures_and_what_not(name):
    assert paragraph(BENCHMARKS[name], "Measures:")
    assert paragraph(BENCHMARKS[name], "Not measured:")


def test_one_picture_a_benchmark(tmp_path):
    pytest.importorskip("matplotlib")
    written = plots.plot(RECORDS, tmp_path / "plots", "a machine")
    assert [path.name for path in written] == ["hot_room.png", "lag.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_figures_over_time_get_a_picture_of_their_own(tmp_path):
    pytest.importorskip("matplotlib")
    series = {"seconds": [0.0, 1.0, 2.0], "rss_mib": [50.0, 51.0, 50.0], "tasks": [3.0, 4.0, 3.0]}
    records = [Record(benchmark="soak", case="rate", value=0.0, unit="calls/s", series=series)]
    written = plots.plot(records, tmp_path, "a machine")
    assert [path.name for path in written] == ["soak.png", "soak-over-time.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pings"], ["'pings'", *BENCHMARKS]),
        (["ping", "--data", "no/such/place"], ["no/such/place"]),
        (["ping", "--json", "no/such/place/out.json"], ["no/such/place"]),
        (["--fast"], ["--fast"]),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments, words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said.count("\n") == 1
    assert all(word in said for word in words)


def test_plot_without_matplotlib_is_one_line_and_exit_2(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(plots, "available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main(["ping", "--plot", str(tmp_path)])
    assert stop.value.code == 2
    assert "durable-rooms[bench]" in capsys.readouterr().err
