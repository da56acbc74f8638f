"""What a user's own scenario finds in a user's own actors, and says in words that their author understands."""

import re
from dataclasses import replace

import pytest

from durable_rooms.simulation import Found, Scenario, Simulation, plan_of
from durable_rooms.simulation.run import quietly
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


@pytest.mark.parametrize("scenario", [scenarios.Votes, scenarios.Orders])
def test_a_correct_actor_passes(scenario):
    for seed in (1, 2):
        passed = found(scenario, seed)
        assert not passed.failures
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
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_mistake_in_the_scenario_itself_is_told_with_its_line(scenario, words):
    assert re.search(words, first_problem(scenario))
