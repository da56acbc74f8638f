"""Variants of births, levels, checkpoints, descriptors and the catalog."""

import trio

from actors.activation.upkeep import Upkeep
from actors.directory.catalog import Catalog
from actors.directory.owner import Ownership
from actors.follower import Position
from actors.storage import opening, storage
from actors.storage.room_file import RoomFile
from actors.storage.storage import Storage
from replication import replicator
from tests.sabotage import scenes
from tests.sabotage.variants import Setter, Variant


def no_rehome_after_an_unclean_stop(put: Setter) -> None:
    put(opening, "rehome_wal", lambda disk, path: None)
    put(opening, "rehome_database", lambda disk, path: None)


def rehome_during_a_checkpoint(put: Setter) -> None:
    """Upkeep no longer shares the room's lock, and no longer keeps its activation from ending."""
    init, look = Upkeep.__init__, Upkeep.look
    put(Upkeep, "__init__", lambda self, *given: init(self, *given[:-1], trio.Lock()))
    put(Upkeep, "look", lambda self, nursery, seq: look(self, self._kept._housing._house._nursery, seq))


def newborn_closed_clean(put: Setter) -> None:
    put_right = RoomFile.put_right

    async def close_it(self, storage, *, broken=True):
        if not storage.newborn:
            return await put_right(self, storage, broken=broken)
        return await self.close(storage, Position(storage.epoch, storage.transaction.seq), hurried=True)

    put(RoomFile, "put_right", close_it)


def newborns_database_not_synced(put: Setter) -> None:
    put(Storage, "descriptors", lambda self: [self.wal_fd])


def checkpoint_before_the_first_round(put: Setter) -> None:
    look = Upkeep.look

    def at_once(self, nursery, seq):
        storage = self._kept.storage
        first, storage.first_round = storage.first_round, False
        look(self, nursery, seq)
        storage.first_round = first

    put(Upkeep, "look", at_once)


def off_for_life(put: Setter) -> None:
    set_pragmas = storage.set_pragmas
    put(Storage, "raise_level", lambda self: setattr(self, "level_off", False))
    put(opening, "set_pragmas", lambda connection, synchronous: set_pragmas(connection, synchronous="OFF"))


def checkpoints_at_off(put: Setter) -> None:
    set_pragmas = storage.set_pragmas  # opening and catalog have names of their own for it
    put(storage, "set_pragmas", lambda connection, synchronous: set_pragmas(connection, synchronous="OFF"))


def wal_descriptor_kept_by_name(put: Setter) -> None:
    """The first activation's descriptor serves all later ones, as long as the process lives."""
    kept, open_, close, give_up = {}, Storage.__init__, Storage._close_descriptors, Ownership.give_up

    def keep(self, disk, path, transaction, wal_fd, **rest):
        open_(self, disk, path, transaction, kept.setdefault(path, wal_fd), **rest)
        if self.wal_fd != wal_fd:
            disk.close(wal_fd)

    put(Storage, "__init__", keep)
    put(Storage, "_close_descriptors", lambda self: (setattr(self, "wal_fd", -1), close(self)))
    put(Ownership, "give_up", lambda self: ([self._disk.close(fd) for fd in kept.values()], kept.clear(), give_up(self)))


def catalog_outside_the_round(put: Setter) -> None:
    commit = Catalog.commit
    put(Catalog, "commit", lambda self: commit(self) and False)


def active_alone_at_start(put: Setter) -> None:
    behind = replicator.behind
    put(replicator, "behind", lambda file, positions: behind(file, lambda: (row for row in positions() if row[2])))


def no_epoch(put: Setter) -> None:
    compare = opening._compare_with_catalog

    def compare_only(storage, plan):
        rewound = compare(storage, plan)
        storage.transaction.new_epoch = None
        return rewound

    put(opening, "_compare_with_catalog", compare_only)


VARIANTS = (
    Variant("no re-home after an unclean stop", 19, no_rehome_after_an_unclean_stop, scenes.killed_and_shown_again),
    Variant(
        "re-home during a checkpoint",
        14,
        rehome_during_a_checkpoint,
        scenes.sync_fails_beside_a_checkpoint,
        also="two layers are patched: the lock alone protects, and so does the nursery in which an activation's checkpoint runs",
    ),
    Variant(
        "newborn closed clean",
        8,
        newborn_closed_clean,
        scenes.newborn_fails,
        also="a newborn that is kept and called unproven is not bad: rule 9 re-homes and judges it. Closed clean it is proven",
    ),
    Variant("newborn's database not synced", 6, newborns_database_not_synced),
    Variant("checkpoint before the first round", 13, checkpoint_before_the_first_round, scenes.much_before_the_first_round),
    Variant("synchronous=OFF for life", 11, off_for_life, scenes.wal_begins_again),
    Variant("checkpoints and closes at synchronous=OFF", 12, checkpoints_at_off),
    Variant("dead -wal descriptor", 4, wal_descriptor_kept_by_name),
    Variant("catalog outside the round", 17, catalog_outside_the_round),
    Variant("active alone at start", 18, active_alone_at_start, scenes.replica_taken_back),
    Variant(
        "no epoch, with a room restored from an old copy",
        31,
        no_epoch,
        scenes.room_restored,
        also="not bad without the old copy: rules 19 and 26 keep a room from standing behind what was shown",
    ),
)
