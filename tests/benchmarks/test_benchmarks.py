"""Every benchmark runs, with tiny parameters, and yields records that make sense. Nothing is asserted about speed."""

import json
import math
from io import StringIO

import pytest

from benchmarks import __main__ as command
from benchmarks import machine
from benchmarks.progress import Progress
from benchmarks.registry import BENCHMARKS
from benchmarks.sizes import TINY

TARGETS = {
    "ceilings": 0,
    "ping": 2,
    "room_calls": 1,
    "doors": 5,
    "hot_room": 3,
    "idempotency": 2,
    "many_rooms": 2,
    "tells": 2,
    "history": 1,
    "replication_lag": 1,
    "replica_apply": 2,
    "replication_cost": 2,
    "catch_up": 2,
    "reads": 6,
    "mixed": 1,
    "offload": 1,
    "overload": 2,
    "search": 1,
    "new_rooms": 1,
    "wake": 1,
    "memory": 1,
    "start": 2,
    "churn": 2,
    "alarms": 1,
    "checkpoint_stall": 1,
    "simulation": 2,
    "soak": 7,
}
GROWTHS = {"memory", "overload", "reads", "soak"}  # whose figure may be nothing at all


def test_every_benchmark_is_expected_here():
    assert list(BENCHMARKS) == list(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_it_runs_and_its_records_are_well_formed(name, tmp_path):
    records = command.run([name], TINY, tmp_path, Progress(StringIO()), {})
    assert sum(record.target is not None for record in records) == TARGETS[name]
    assert len({record.case for record in records}) == len(records)
    for record in records:
        assert record.benchmark == name
        assert record.unit
        assert math.isfinite(record.value)
        assert record.value > 0 or (name in GROWTHS and record.value == 0)
        assert record.ceiling is None or record.ceiling > 0
        json.dumps(record.as_json())
    assert not any(tmp_path.iterdir()), "it left files behind"


def test_the_command_writes_json_and_exits_by_the_verdict(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "QUICK", TINY)
    out = tmp_path / "out.json"
    code = command.main(["ping", "--quick", "--data", str(tmp_path), "--json", str(out)])
    found = json.loads(out.read_text())
    assert code == (0 if all(entry["passed"] for entry in found) else 1)
    said = capsys.readouterr().out
    assert "machine:" in said
    assert "sync latency:" in said
    assert "SQLite" in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_too_few_descriptors_is_said_and_fails_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _which: (64, 64))
    assert command.main(["many_rooms", "--quick", "--data", str(tmp_path)]) == 1
    assert "open files" in capsys.readouterr().err


def test_a_file_system_in_memory_is_warned_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "QUICK", TINY)
    monkeypatch.setattr(machine, "file_system", lambda _path: "tmpfs")
    command.main(["ping", "--quick", "--data", str(tmp_path)])
    assert "warning" in capsys.readouterr().err


def test_the_file_system_of_a_path_is_known_on_linux(tmp_path):
    assert machine.file_system(tmp_path)
