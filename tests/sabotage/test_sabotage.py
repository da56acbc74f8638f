"""Known-bad variants of the product are caught, or the simulator proves nothing. `make sabotage` prints the table."""

import pytest

from actors.sync.gate import Gate
from tests.sabotage.scenes import replica_between_two_transactions
from tests.sabotage.table import VARIANTS, judged, main, played
from tests.sabotage.variants import LINES_MAX, sabotaged

DIRECTED = [variant for variant in VARIANTS if variant.scene is not None]
WIDE = [variant for variant in VARIANTS if variant.scene is None]


def named(variant):
    return variant.name


@pytest.mark.parametrize("variant", DIRECTED, ids=named)
def test_a_directed_scenario_catches_its_variant_and_finds_nothing_in_the_product(variant):
    verdict = judged(variant.name)
    assert verdict.caught, verdict.shows


def test_random_seeds_catch_a_product_that_syncs_nothing():
    assert judged("no sync").by.startswith("seed ")


@pytest.mark.slow
@pytest.mark.parametrize("variant", WIDE, ids=named)
def test_random_seeds_catch_a_wide_variant(variant):
    verdict = judged(variant.name)
    assert verdict.caught, verdict.shows


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
def test_a_variant_breaks_something_that_is_there(variant):
    """One patched a function that batches had not used since their rows came in bulk, and nobody ran it."""
    with sabotaged(variant):
        pass


def test_every_patch_is_small():
    assert {variant.name: variant.lines for variant in VARIANTS if variant.lines > LINES_MAX} == {}


def test_a_patch_is_taken_back_also_after_an_error():
    before = vars(Gate)["hold"]
    with pytest.raises(ZeroDivisionError), sabotaged(next(one for one in VARIANTS if one.name == "reply before the round")):
        assert vars(Gate)["hold"] is not before
        raise ZeroDivisionError
    assert vars(Gate)["hold"] is before


def test_a_scenario_that_misses_its_moment_is_no_catch(monkeypatch):
    variant = next(one for one in DIRECTED if one.name == "newborn closed clean")
    monkeypatch.setattr("durable_rooms.simulation.disk.SimulatedDisk.fail", lambda self, fault: fault)
    verdict = judged(variant.name)
    assert not verdict.caught
    assert "did not come to its moment" in verdict.shows


def test_the_runner_says_which_names_there_are(capsys):
    assert main(["no such name"]) == 2
    assert "no sync" in capsys.readouterr().err


def test_a_stranger_sees_the_shipped_rooms_in_the_replica():
    seen = [call for call in played(replica_between_two_transactions).history.calls.values() if call.value == ["0", "1"]]
    assert seen, "the scenario's query on the replica finds nothing, so nobody would miss what disappears from it"
