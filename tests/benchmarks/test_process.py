"""A child's measurement counts only whole; memory and files of this process are seen."""

import signal
import sys

import pytest

from benchmarks import process
from benchmarks.process import in_child, open_files, resident_bytes


@pytest.fixture
def child(tmp_path, monkeypatch):
    def write(code):
        (tmp_path / "child.py").write_text("from benchmarks.process import say\n" + code)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{process.REPOSITORY}")
        return "child"

    return write


async def test_lines_of_a_child_arrive_in_order(child):
    seen = []
    lines = await in_child(child("say(n=1)\nsay(n=2)"), told=seen.append)
    assert lines == seen == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("code", ["say(n=1)\nraise SystemExit(3)", "pass"])
async def test_a_child_that_fails_or_says_nothing_is_no_measurement(child, code):
    with pytest.raises(RuntimeError, match="ended with"):
        await in_child(child(code))


async def test_a_child_may_kill_itself_where_that_is_expected(child):
    code = f"import os\nsay(n=1)\nos.kill(os.getpid(), {int(signal.SIGKILL)})"
    assert await in_child(child(code), ends_with=-signal.SIGKILL) == [{"n": 1}]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_and_open_files_of_this_process_are_seen(tmp_path):
    before = open_files()
    with (tmp_path / "file").open("w"):
        assert open_files() == before + 1
    assert resident_bytes() > 1_000_000
