"""Nothing acknowledged or shown is lost, whenever the power fails; and known-bad variants are caught, or this proves nothing."""

import pytest

from actors import opening, storage, syncer
from actors.activation import Activation
from actors.catalog import Catalog
from actors.gate import Gate
from actors.storage import Storage
from tests.durability.power import live_and_cut


def test_nothing_acknowledged_is_lost_at_any_power_cut(tmp_path):
    images = 0
    for seed in range(8):
        (folder := tmp_path / str(seed)).mkdir()
        verdict = live_and_cut(folder, seed, cuts=8)
        assert verdict.problems == []
        images += verdict.images
    assert images == 8 * 3 * 8


def test_nothing_acknowledged_is_lost_when_syncs_and_writes_fail_before_the_power_does(tmp_path):
    for seed in range(100, 108):
        (folder := tmp_path / str(seed)).mkdir()
        assert live_and_cut(folder, seed, cuts=8, faults=True).problems == []


@pytest.mark.slow
@pytest.mark.parametrize("faults", [False, True], ids=["", "with failing syncs"])
@pytest.mark.parametrize("start", range(1_000, 1_400, 50))
def test_nothing_acknowledged_is_lost_in_many_lives(tmp_path, start, faults):
    for seed in range(start, start + 50):
        (folder := tmp_path / str(seed)).mkdir()
        assert live_and_cut(folder, seed, cuts=15, faults=faults).problems == []


# -- known-bad variants ---------------------------------------------------------------------------------------------------
def release_before_the_round(monkeypatch):
    def hold(self, waiting):
        for one in waiting:
            one.release()

    monkeypatch.setattr(Gate, "hold", hold)


def certify_at_the_end_of_the_round(monkeypatch):
    certified = Activation.certified
    monkeypatch.setattr(Activation, "certified", lambda self, count: certified(self, self.gate.committed))


def no_directory_in_the_round(monkeypatch):
    in_thread = syncer.Syncer._sync_in_thread
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)  # a syncfs would cover the names
    monkeypatch.setattr(syncer.Syncer, "_sync_in_thread", lambda self, work, catalog: in_thread(self, [(target, fds, None) for target, fds, _ in work], catalog))


def no_newborn_database_in_the_round(monkeypatch):
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)
    monkeypatch.setattr(Storage, "descriptors", lambda self: [self.wal_fd])


def synchronous_off_for_life(monkeypatch):
    set_pragmas = storage.set_pragmas
    monkeypatch.setattr(Storage, "raise_level", lambda self: setattr(self, "level_off", False))
    monkeypatch.setattr(opening, "set_pragmas", lambda connection, synchronous: set_pragmas(connection, synchronous="OFF"))


def catalog_not_in_the_round(monkeypatch):
    commit = Catalog.commit
    monkeypatch.setattr(syncer, "SYNC_EACH_MAX", 1_000)
    monkeypatch.setattr(Catalog, "commit", lambda self: commit(self) and False)


def nothing_rehomed_after_a_kill(monkeypatch):
    monkeypatch.setattr(opening, "rehome_wal", lambda disk, path: None)
    monkeypatch.setattr(opening, "rehome_database", lambda disk, path: None)


def hibernate_before_everything_is_durable(monkeypatch):
    monkeypatch.setattr(Gate, "clear", property(lambda self: True))


@pytest.mark.parametrize(
    "known_bad",
    [
        release_before_the_round,
        certify_at_the_end_of_the_round,
        no_directory_in_the_round,
        no_newborn_database_in_the_round,
        synchronous_off_for_life,
        catalog_not_in_the_round,
        nothing_rehomed_after_a_kill,
        hibernate_before_everything_is_durable,
    ],
    ids=lambda known_bad: known_bad.__name__,
)
def test_a_known_bad_variant_is_caught(tmp_path, monkeypatch, known_bad):
    known_bad(monkeypatch)
    for seed in range(200):
        (folder := tmp_path / str(seed)).mkdir()
        if live_and_cut(folder, seed, cuts=12).problems:
            return
    pytest.fail("no image of 200 lives shows it")
