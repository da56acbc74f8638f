"""Rooms that call, tell, remind, are called under keys and are deleted, in simulated lives; what is wrong on purpose shows."""

import pytest

from actors.alarms.firing import Fire
from actors.calls.keyed import Keyed
from actors.directory.tombstones import Tombstones
from actors.errands.calling import Calling
from actors.sync.gate import Gate
from actors.tells.receipt import Receipt
from durable_rooms.simulation import ErrandScenario, Simulation
from durable_rooms.simulation.run import quietly
from tests.simulation.lives import life, lived, nothing_lost

SEEDS = 12  # so many at most until a variant is caught


def test_nothing_is_lost_told_twice_or_too_early_in_rooms_that_do_all_they_can():
    found = [lived(seed, life("killed"), life("cut"), scenario=ErrandScenario(), cuts=6) for seed in range(3)]
    nothing_lost(found)
    answered = {name.partition(".")[2] for one in found for name in one.answered}
    assert answered >= {"refer", "remind", "consult", "note", "write", "delete"}


def leave_before_the_gate(monkeypatch):
    def submit(self, name, envelope):
        errand, task = self._host.sender("")
        envelope.sent(errand, task, name, self._rooms)
        self._rooms.pass_on(name, envelope)

    monkeypatch.setattr(Calling, "submit", submit)


def run_alarms_again(monkeypatch):
    ran = Fire.answered

    def answered(self, transaction):
        answer = ran(self, transaction)
        if self.row is not None:
            transaction.own("UPDATE _alarms SET due = ?", (self.row.due,))
        return answer

    monkeypatch.setattr(Fire, "answered", answered)


def forget_receipts(monkeypatch):
    monkeypatch.setattr(Receipt, "answered", lambda self, transaction: None)
    monkeypatch.setattr(Receipt, "ran", lambda self, transaction, value: None)


def forget_keys(monkeypatch):
    monkeypatch.setattr(Keyed, "ran", lambda self, transaction, value: None)


def bury_nobody(monkeypatch):
    monkeypatch.setattr(Tombstones, "put", lambda self, stone: None)


def tell_at_once(monkeypatch):
    """Tells are sent at their commit, not after its round."""
    held = Gate.hold

    def hold(self, waiting):
        waiting = tuple(waiting)
        ours = [one for one in waiting if "outgoing" in type(one).__module__ or "courier" in type(one).__module__]
        for one in ours:
            one.release()
        held(self, [one for one in waiting if one not in ours])

    monkeypatch.setattr(Gate, "hold", hold)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant", [leave_before_the_gate, forget_receipts, forget_keys, bury_nobody, tell_at_once, run_alarms_again]
)
def test_a_runtime_that_breaks_a_promise_is_caught(variant, monkeypatch):
    variant(monkeypatch)
    assert any(quietly(Simulation(ErrandScenario(), seed)).failures for seed in range(1, SEEDS + 1))
