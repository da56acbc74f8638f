"""`durable-rooms simulate`: exit codes, JSON, and a failing seed that anybody can see again."""

import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from durable_rooms.cli.simulate import simulate_command
from durable_rooms.simulation.plan import LifePlan, Plan, plan_of
from durable_rooms.simulation.shorten import plan_from, plan_text
from tests.cli.running import PROGRAM, ROOT
from tests.simulation import scenarios

KEYS = {"seeds", "failures", "crash_points", "images", "faults", "virtual_seconds", "seconds", "first_failing_seed"}
IMPORTS = "from durable_rooms import Actor\nfrom durable_rooms.simulation import After, Client, Scenario\n\n"
MISTAKES = """
from my_polls import ForgetfulPoll, Poll, Scenario, Votes
class Raises(Votes):
    def __init__(self): raise ValueError("why")
class NoActors(Votes): actors = ()
class NoClient(Scenario): actors = (Poll,)
class PlainClient(Votes):
    def client(self, client): pass
class NobodyComes(Votes): clients = 0
class Misread(Votes): reads = ("votters",)
class Misasked(Votes): reads = ("vote",)
class Renamed(Votes): releases = ((ForgetfulPoll,),)
class NoModel(Votes): replica_reads = {"voters": "SELECT voter FROM Poll_votes WHERE room_id = ?"}
class Function(Votes): model = staticmethod(lambda: object())
class Mute(Votes): model, reads = object, ("voters",)
class Outer:
    class Inner(Votes): pass
def made():
    class Local(Votes): clients, visits = 1, 1
    return Local
Made = made()
"""
FEW = "\n\nclass Few(ForgetfulVotes):\n    clients, visits = 1, 2\n"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A current directory with a module of the user's own."""
    classes = (scenarios.Poll, scenarios.Votes, scenarios.ForgetfulPoll, scenarios.ForgetfulVotes)
    (tmp_path / "my_polls.py").write_text(IMPORTS + "\n\n".join(map(inspect.getsource, classes)) + FEW)
    for name, text in (("mistakes", MISTAKES), ("divides", "1 / 0"), ("half", "def f(:"), ("leaves", "raise SystemExit(3)")):
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def simulated(here: Path, *arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [*PROGRAM, "simulate", *arguments]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done


SHORT = plan_text(Plan(1, (LifePlan("cut", clients=2, visits=2, troubles=(("rooms tidied", 0.1),)),), cuts=3))


def test_a_users_own_scenario_in_the_current_directory_that_holds_exits_with_0(here):
    done = simulated(here, "my_polls:Votes", "--plan", SHORT, code=0)
    assert re.match(r"NOTHING LOST  1 of 1 seed, .*/s: 3 cuts, \d different images?, .* virtual s in .* s\n", done.stdout)
    assert "my_polls:Votes" in done.stdout


def test_without_a_scenario_the_shipped_chat_runs(here):
    told = json.loads(simulated(here, "--plan", SHORT, "--json", code=0).stdout)
    assert set(told) >= KEYS
    assert told["scenario"] == "durable_rooms.simulation.chat:ChatScenario"
    assert (told["seeds"], told["failures"], told["first_failing_seed"], told["crash_points"]) == (1, 0, None, 3)
    assert 1 <= told["images"] <= 3
    assert told["virtual_seconds"] >= 0
    assert {"power cut", "kill", "replica corrupt", "sync of a WAL failed"} <= set(told["faults"])


def failure_in(text: str) -> list[str]:
    """The seed, where it showed, and what was wrong."""
    (found,) = re.findall(r"\n(seed \d+, .*):\n((?:  .*\n)+)", text)
    return [found[0], *found[1].splitlines()]


def test_a_failing_seed_tells_its_plan_its_last_events_and_commands_that_show_the_same_failure_again(here):
    arguments = ["my_polls:Few", "--first-seed", "1", "--seeds", "1"]
    done = simulated(here, *arguments, code=1)
    assert done.stdout.startswith("FAILED  1 of 1 seed")
    where, problem = failure_in(done.stdout)
    assert where.startswith("seed 1, life ")
    assert "and the vote is gone: the room has 0 voters" in problem
    assert re.search(r"case of seed 1:\n  life 1: \d clients?, \d visits? each(, many places)?; then it is \w+\n", done.stdout)
    assert re.search(r"the last events before it:\n(    +\d+\.\d+ s  .*\n){3,}", done.stdout)
    _, _, commands = done.stdout.partition("See it again:\n")
    by_seed, by_plan = (shlex.split(line) for line in commands.splitlines())
    assert by_seed == ["durable-rooms", "simulate", *arguments]
    again = simulated(here, *by_seed[2:], code=1)
    assert failure_in(again.stdout) == [where, problem]
    assert again.stdout.partition("trace ")[2].split()[0] == done.stdout.partition("trace ")[2].split()[0]
    (shorter,) = re.findall(r"\n  found (life .*?): (ForgetfulPoll.*)\n", done.stdout)
    seen = simulated(here, *by_plan[2:], code=1)
    assert failure_in(seen.stdout) == [f"seed 1, {shorter[0]}", f"  {shorter[1]}"]


def test_a_failing_seed_is_named_while_the_others_run(here):
    done = simulated(here, "my_polls:Few", "--seeds", "2", "--processes", "1", code=1)
    assert re.search(r"^FAILED  2 of 2 seeds, .* 2 failures: seeds 1, 2$", done.stdout, re.MULTILINE)


def test_a_failure_in_json_has_seed_plan_and_events_and_the_shorter_plan_fails_too(here):
    done = simulated(here, "my_polls:Few", "--seeds", "2", "--first-seed", "7", "--processes", "1", "--json", code=1)
    told = json.loads(done.stdout)
    assert told["failures"] == len(told["problems"]) >= 1
    first = told["problems"][0]
    assert told["first_failing_seed"] == first["seed"] >= 7
    assert first["plan"]
    assert first["events"]
    assert "the vote is gone" in first["problems"][0]
    again = simulated(here, "my_polls:Few", "--plan", told["shorter_plan"], "--json", code=1)
    assert json.loads(again.stdout)["first_failing_seed"] == first["seed"]


@pytest.mark.parametrize(
    ("scenario", "plan", "words"),
    [
        ("my_polls", None, "'my_polls' names no scenario; say MODULE:Scenario"),
        ("missing_module:Votes", None, "missing_module:Votes: No module named 'missing_module'"),
        ("my_polls:Missing", None, "has no attribute 'Missing'"),
        ("my_polls:Poll", None, "my_polls:Poll is no subclass of durable_rooms.simulation.Scenario"),
        (
            "divides:Votes",
            None,
            "divides:Votes: the import of divides raised ZeroDivisionError('division by zero') at divides.py:1",
        ),
        ("half:Votes", None, "half:Votes: the import of half raised SyntaxError"),
        ("leaves:Votes", None, "leaves:Votes: the import of leaves raised SystemExit(3)"),
        ("mistakes:Raises", None, "mistakes:Raises() raised ValueError('why') at mistakes.py:"),
        ("mistakes:NoActors", None, "`actors` lists the actor classes that its clients call"),
        ("mistakes:NoClient", None, "it has no `client`"),
        ("mistakes:PlainClient", None, "`client` is awaited: write `async def client`"),
        ("mistakes:NobodyComes", None, "`clients` and `visits` are 1 or more"),
        ("mistakes:Misread", None, "`reads` names votters, and no class of `actors` has it"),
        ("mistakes:Misasked", None, "`reads` names vote, which cannot be called without arguments"),
        ("mistakes:Renamed", None, "release 1 has no class named Poll"),
        ("mistakes:NoModel", None, "`replica_reads` is compared with `model`, and there is none"),
        ("mistakes:Function", None, "`model` is a class"),
        ("mistakes:Mute", None, "the model object has no method voters, so nothing could explain what it shows"),
        ("my_polls:Votes", "", "durable-rooms simulate: "),
        ("my_polls:Votes", SHORT.replace('"clients":2', '"clients":"2"'), "this is no plan: clients is '2'"),
        ("my_polls:Votes", SHORT.replace('"visits":2', '"visits":-2'), "this is no plan: visits is -2"),
        ("my_polls:Votes", SHORT.replace('"troubles":[', '"troubles":[["room closed","soon"],'), "nobody knows what 'soon' is"),
        ("my_polls:Votes", "no JSON", "durable-rooms simulate: "),
        ("my_polls:Votes", "[]", "this is no plan"),
        ("my_polls:Votes", '{"seed":1,"lives":[]}', "this is no plan: it has no lives"),
        ("my_polls:Votes", SHORT.replace('"end":"', '"end":"not '), "this is no plan: nobody knows what 'not "),
        ("my_polls:Votes", SHORT.replace('"troubles":[', '"troubles":[["rain",1.0],'), "nobody knows what 'rain' is"),
    ],
)
def test_what_cannot_be_simulated_is_refused_with_2_and_the_reason(here, monkeypatch, capsys, scenario, plan, words):
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    assert simulate_command(scenario, 1, 1, 1, plan, as_json=False) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert not out


def test_bad_usage_exits_with_2(here):
    assert "--seeds" in simulated(here, "--seeds", "0", code=2).stderr
    assert "names no scenario" in simulated(here, "my_polls", code=2).stderr


def test_a_scenario_inside_a_class_or_a_function_is_found_by_the_name_it_was_given(here):
    assert json.loads(simulated(here, "mistakes:Outer.Inner", "--seeds", "1", "--json", code=0).stdout)["seeds"] == 1
    assert json.loads(simulated(here, "mistakes:Made", "--seeds", "2", "--json", code=0).stdout)["seeds"] == 2


def test_a_handler_that_ends_the_process_is_told_without_a_traceback(here):
    (here / "dies.py").write_text(
        "import os\nfrom my_polls import *\nclass Dies(Votes):\n    async def client(self, client): os._exit(9)\n"
    )
    assert "a process that ran seeds has died" in simulated(here, "dies:Dies", "--seeds", "2", "--processes", "2", code=1).stderr


def test_ctrl_c_ends_it_at_once_with_130_and_leaves_nothing_also_where_a_seed_never_ends(here):
    (here / "spins.py").write_text(
        "from pathlib import Path\nfrom my_polls import *\nclass Spins(Votes):\n    async def client(self, client):\n"
        "        Path(f'spins-{client.name}').touch()\n        while True: pass\n"
    )
    (here / "ram").mkdir()
    program = "import durable_rooms.simulation.simulation as it, pathlib; it.RAM_DISK = pathlib.Path('ram').resolve()\n"
    program += (
        "import sys; from durable_rooms.cli import main; sys.argv[1:] = ['simulate', 'spins:Spins', '--processes', '2']; main()"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", f"if __name__ == '__main__':\n    {program.replace(chr(10), chr(10) + '    ')}"],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        while not list(here.glob("spins-*")) and running.poll() is None:
            time.sleep(0.05)
        assert list((here / "ram").iterdir())
        os.killpg(running.pid, signal.SIGINT)
        _, told = running.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert (running.returncode, told.strip()) == (130, "Interrupted.")
    assert not list((here / "ram").iterdir())


def test_a_plan_survives_its_text():
    for seed in range(50):
        plan = plan_of(seed, 4, 8)
        assert plan_from(plan_text(plan)) == plan
