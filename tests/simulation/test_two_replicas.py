"""Lives with two replicas: planned apart from all else, watched and compared both."""

from collections import Counter
from dataclasses import replace

from durable_rooms.simulation import ChatScenario, Simulation, look, plan_of
from durable_rooms.simulation.plan import SECOND_REPLICA
from durable_rooms.simulation.run import quietly
from durable_rooms.simulation.troubles import REPLICA, SECOND
from durable_rooms.verify import verify


def test_a_fifth_of_the_lives_have_two_replicas_and_faults_strike_either():
    lives = [life for seed in range(1_000) for life in plan_of(seed, 4, 8).lives]
    twofold = [life for life in lives if life.second]
    assert abs(len(twofold) / len(lives) - SECOND_REPLICA) < 0.03
    struck = Counter(fault.pattern.rstrip("*") for life in twofold for fault in life.faults)
    assert struck[REPLICA] > 20
    assert struck[SECOND] > 20
    assert not any(SECOND in fault.pattern for life in lives if not life.second for fault in life.faults)


def test_a_difference_in_the_second_replica_is_found(monkeypatch):
    """Rows that never reach it: whoever looks after a cut compares both."""
    made = ChatScenario()
    plan = plan_of(3, made.clients, made.visits)
    life = replace(plan.lives[0], second=True, faults=(), troubles=(), end="stopped")
    plan = replace(plan, lives=(life,), cuts=2)
    assert not quietly(Simulation(made, 3, plan=plan)).failures
    compared = []

    def verify_with_a_difference(directory, replica=None, **options):
        report = verify(directory, replica, **options)
        report.differing += replica is not None
        compared.append(replica and replica.name)
        return report

    monkeypatch.setattr(look, "verify", verify_with_a_difference)
    found = quietly(Simulation(made, 3, plan=plan))
    assert "the second replica differs from the rooms" in str(found.failures[0].problems)
    assert compared == [None, SECOND]
