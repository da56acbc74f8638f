"""What a user's own scenario finds in a user's own actors, and says in words that their author understands."""

import re
from dataclasses import replace

import pytest
import trio

from actors.alarms.waker import Waker
from actors.names import room_file, room_name
from actors.sync.syncer import Syncer
from durable_rooms.simulation import ChatScenario, Found, Report, Scenario, Simulation, plan_of
from durable_rooms.simulation.history import History
from durable_rooms.simulation.life import Life
from durable_rooms.simulation.look import Inspection
from durable_rooms.simulation.plan import LifePlan
from durable_rooms.simulation.report import REFUSED_MAX, SEEDS_FOR_ALL
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.simulation import READING
from durable_rooms.simulation.world import World
from tests.simulation import scenarios

CUTS = 6  # of each of three lives


def found(scenario: type[Scenario], seed: int, cuts: int = CUTS) -> Found:
    made = scenario()
    return quietly(Simulation(made, seed, plan=replace(plan_of(seed, made.clients, made.visits), cuts=cuts)))


def first_problem(scenario: type[Scenario], seeds: int = 5) -> str:
    """What the first of a few seeds says that finds something."""
    for seed in range(1, seeds + 1):
        for failure in found(scenario, seed).failures:
            assert failure.seed == seed
            assert failure.events
            return failure.problems[0]
    pytest.fail(f"{seeds} seeds of {scenario.__name__} found nothing")


RIGHT = [scenarios.Votes, scenarios.Orders, scenarios.Stores, scenarios.Counts, scenarios.TwoClasses, scenarios.NothingAsked]


@pytest.mark.parametrize("scenario", RIGHT)
def test_a_correct_actor_passes(scenario):
    for seed in (2, 3):
        passed = found(scenario, seed)
        assert not passed.failures, passed.failures[0].problems
        assert passed.images


def test_state_that_is_only_in_memory_is_lost_and_named():
    problem = first_problem(scenarios.ForgetfulVotes)
    assert re.fullmatch(
        r"ForgetfulPoll/[ab]\.vote\('\d\.\d\.\d'\) returned \d+ at seq 0, and the vote is gone: the room has 0 voters", problem
    )


def test_telling_the_outside_before_it_is_durable_is_caught():
    problem = first_problem(scenarios.HastyOrders)
    assert re.fullmatch(r"\d\.\d\.\d was thanked by mail for an order that the shop does not have", problem)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (
            scenarios.OfAnotherClass,
            r"OfAnotherClass\.client raised LookupError"
            r"\(\"Poll is not among the scenario's classes \(Shop\); add it to `actors`\"\)"
            r" at scenarios\.py:\d+: await client\.room\(Poll",
        ),
        (
            scenarios.Raising,
            r"Raising\.client raised LookupError\('nobody expected this'\) at scenarios\.py:\d+: raise LookupError",
        ),
        (
            scenarios.RaisingCheck,
            r"RaisingCheck\.check raised LookupError\('nobody expected this'\) at scenarios\.py:\d+: raise LookupError",
        ),
        (
            scenarios.WithoutWords,
            r"WithoutWords\.check: false at scenarios\.py:\d+: assert len\(list\(after\.acknowledged\(\)\)\) < 1",
        ),
        (
            scenarios.MisspelledTable,
            r"MisspelledTable\.client raised SQLError\('no such table: vots'\) at scenarios\.py:\d+: self\.sql\(",
        ),
        (
            scenarios.RaisingModel,
            r"Poll/[ab]: the model model raised LookupError\('nobody expected this'\) at scenarios\.py:\d+: raise LookupError",
        ),
        (
            scenarios.LongPauses,
            r"no call waits, but .*LongPauses\.client has not come back \(clients 0, 1, 2, 3.*\): pause less",
        ),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_mistake_in_the_scenario_itself_is_told_with_its_line(scenario, words):
    assert re.search(words, first_problem(scenario))


def test_a_client_that_calls_for_ever_is_told_so_and_not_waited_for(monkeypatch):
    monkeypatch.setattr("durable_rooms.simulation.life.EVENTS_MAX", 3_000)
    assert re.search(r"Endless\.client does not come to its end", first_problem(scenarios.Endless))


def test_who_never_waits_for_anything_is_told_so_and_not_waited_for(monkeypatch):
    monkeypatch.setattr("durable_rooms.simulation.standstill.PASSES_MAX", 3_000)
    words = r"Restless\.client, is at work without end: .* at virtual second \S+ of life 1"
    assert re.search(words, first_problem(scenarios.Restless))


async def never_rests(*_):
    while True:
        await trio.lowlevel.checkpoint()


def test_a_runtime_that_never_rests_is_a_problem_of_its_life(monkeypatch):
    monkeypatch.setattr("durable_rooms.simulation.standstill.PASSES_MAX", 3_000)
    monkeypatch.setattr(Waker, "run", never_rests)
    assert re.search(r"the runtime, or .* at work without end", first_problem(scenarios.Votes))


def test_a_look_at_which_the_runtime_never_rests_has_an_end(monkeypatch):
    monkeypatch.setattr("durable_rooms.simulation.standstill.PASSES_MAX", 3_000)
    monkeypatch.setattr(Inspection, "_ask", never_rests)
    assert re.search(r"has no end: virtual time stands still", first_problem(scenarios.Votes))


def test_a_lost_tail_is_found_in_rooms_that_the_scenario_never_reads(monkeypatch):
    def births(work):
        return [one for one in work if one[2] is not None]  # a first round syncs the directory, too

    in_thread = Syncer._sync_in_thread
    monkeypatch.setattr(Syncer, "_sync_in_thread", lambda self, work, catalog: in_thread(self, births(work), catalog))
    problem = first_problem(scenarios.NothingAsked)
    assert re.fullmatch(r"Poll/[ab]\.vote\('.*'\) returned \d+ at seq \d+, but after the restart the room is at seq \d+", problem)


def test_a_second_cut_finds_every_room_being_opened_also_one_that_the_scenario_never_reads(tmp_path):
    history, scenario = History(), scenarios.NothingAsked()
    first = Life(scenario, LifePlan("killed", 4, 2), 0, "1", tmp_path / "data", World(), history)
    first.run()
    again = Life(scenario, READING, 1, "1", tmp_path / "data", first.disk.world, history)
    again.run()
    assert not first.problems + again.problems
    opened = {event.path for event in again.disk.events if event.kind == "open" and event.path.startswith("rooms/")}
    files = {f"rooms/{room_file(room_name(*name.split('/')))}" for name in history.rooms()}
    assert files
    assert files <= opened


def reported(scenario: type[Scenario], seeds: int = 3) -> Report:
    report = Report(scenario.name(), 1, scenario.every_fault)
    for seed in range(1, seeds + 1):
        report.add(seed, found(scenario, seed, cuts=1))
    return report


def test_a_scenario_whose_calls_are_all_refused_has_shown_nothing():
    report = reported(scenarios.WrongArguments)
    assert not report.failures
    assert not report.good
    (words,) = report.unanswered
    assert re.match(r"Poll\.vote \(\d+ calls\), the last: BadArguments: .*vote\(voter: str\)", words)


def test_one_method_that_is_never_answered_spoils_the_verdict_also_beside_others():
    report = Report("s", 1)
    report.add(1, Found(seeds=1, answered={"Poll.voters": 9}, refused={"Poll.vote": (REFUSED_MAX, "TooLarge: so it is")}))
    assert report.unanswered == [f"Poll.vote ({REFUSED_MAX} calls), the last: TooLarge: so it is"]
    assert not report.good
    report.add(2, Found(seeds=1, answered={"Poll.vote": 1}))
    assert report.good


def test_a_scenario_that_calls_nothing_has_shown_nothing():
    report = reported(scenarios.Idle)
    assert not report.failures + report.unanswered
    assert not report.good


def test_a_fault_that_a_users_few_rooms_cannot_reach_is_told_and_is_no_failure():
    for scenario, good in ((scenarios.Votes, True), (ChatScenario, False)):
        report = Report(scenario.name(), 1, scenario.every_fault)
        for seed in range(SEEDS_FOR_ALL):
            report.add(seed, Found(seeds=1, answered={"Poll.vote": 1}))
        assert "file system sync failed" in report.unreached
        assert report.good is good
