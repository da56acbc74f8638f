"""Directed scenarios: each leads the product to the one moment that a rule is about, and cuts there.

On the product as it is each must find nothing; with the variant it was written for it must. An `assert` in one of them says
that it did not come to its moment; that counts as no catch.
"""

import trio
from trio.testing import wait_all_tasks_blocked

from actors import Limits
from durable_rooms.simulation.chat import Chat
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.history import History
from tests.sabotage.theatre import Stage, Theatre, path_of, wal

CHECKPOINTING = Limits(wal_bytes_max=30_000, broken_rooms_max=1_000)


# -- failed syncs -------------------------------------------------------------------------------------------------------
def writeback_fails_beside_a_syncfs(theatre: Theatre) -> None:
    """Rule 23: a room that commits while a syncfs is in flight, and whose pages that syncfs could not write."""
    rooms = "abcdef"  # more than a round syncs one by one

    async def program(stage: Stage) -> None:
        for id in (*rooms, "late"):
            await stage.room(id).post(f"{id} 0")
        hold = stage.hold("file system sync began")
        await stage.start(*(stage.room(id).post(f"{id} 1") for id in rooms))
        await hold.reached.wait()
        await stage.start(*(stage.room(id).post(f"{id} 2") for id in (*rooms, "late")))
        assert stage.disk.writeback_fails(wal("late"))
        hold.release()
        await stage.rest()
        theatre.cut(stage, stage.now)

    theatre.live(program)


def newborn_fails(theatre: Theatre) -> None:
    """Rule 8: the database of a birth could not be synced; the room is called again."""

    async def program(stage: Stage) -> None:
        stage.disk.fail(Fault("sync", path_of("a"), by="ours"))
        await stage.start(stage.room("a").post("0"))
        assert stage.errors, "the first round of a newborn syncs its database"
        await stage.room("a").post("1")
        theatre.cut(stage, stage.now, draws=8)

    theatre.live(program)


# -- unclean stops --------------------------------------------------------------------------------------------------------
def killed_and_shown_again(theatre: Theatre) -> None:
    """Rule 19: what a killed process had not synced is read by the next one; then the power fails."""
    places: list[int] = []

    async def unsynced(stage: Stage) -> None:
        await stage.room("a").post("0")
        await stage.room("a").post("1")
        hold = stage.hold("sync began", wal("a"))
        await stage.start(stage.room("a").post("2"))
        await hold.reached.wait()
        places.append(stage.now)

    async def shown(stage: Stage) -> None:
        assert await stage.room("a").ids() == ["0", "1", "2"]
        theatre.cut(stage, stage.now)

    theatre.go_on(theatre.live(unsynced), places[0])
    theatre.live(shown)


# -- checkpoints ----------------------------------------------------------------------------------------------------------
def sync_fails_beside_a_checkpoint(theatre: Theatre) -> None:
    """Rule 14: a room breaks while its checkpoint is half-way, and is called again before that goes on."""

    async def program(stage: Stage) -> None:
        a = stage.room("a")
        await a.post("0")
        hold = stage.hold("write", path_of("a"))
        await a.post("1", "x" * 40_000)
        await hold.reached.wait()
        stage.disk.fail(Fault("sync", wal("a"), by="ours", evict=True))
        await stage.start(a.post("2"))
        assert stage.errors, "the sync failed beside the checkpoint"
        await stage.start(a.post("3"))
        hold.release()
        await stage.rest()
        await stage.start(a.post("4", "y" * 40_000))
        await stage.rest()
        await stage.start(a.ids())
        theatre.cut(stage, stage.now)

    theatre.live(program, CHECKPOINTING)


def much_before_the_first_round(theatre: Theatre) -> None:
    """Rule 13: an activation whose WAL outgrows its bound while no round has named that WAL yet."""

    async def before(stage: Stage) -> None:
        await stage.room("a").post("0", "w" * 20_000)
        await stage.room("b").post("0")

    async def much(stage: Stage) -> None:
        hold = stage.hold("sync began", wal("b"))
        await stage.start(stage.room("b").post("1"))
        await hold.reached.wait()
        began = stage.now
        await stage.start(stage.room("a").post("1", "x" * 40_000))  # waits for a round that cannot begin yet
        events = list(enumerate(stage.disk.events))[began:]
        written = [place for place, event in events if (event.kind, event.path) == ("write", path_of("a"))]
        theatre.cut(stage, min(written, default=stage.now), stage.now, draws=4)

    theatre.go_on(theatre.live(before))
    theatre.live(much, CHECKPOINTING)


def wal_begins_again(theatre: Theatre) -> None:
    """Rule 11: a complete checkpoint, and one more post whose round is in flight: old frames lie behind the new ones."""

    async def program(stage: Stage) -> None:
        a = stage.room("a")
        for id in "012":
            await a.post(id, "x" * 100)
        await a.post("3", "x" * 200_000)
        await wait_all_tasks_blocked()
        hold = stage.hold("sync began", wal("a"))
        await stage.start(a.post("4", "x" * 60_000))
        await hold.reached.wait()
        theatre.cut(stage, stage.now, draws=40)

    theatre.live(program, Limits(wal_bytes_max=150_000))


# -- the replica ------------------------------------------------------------------------------------------------------------
def replica_between_two_transactions(theatre: Theatre) -> None:
    """Rule 27: whoever reads the replica at any moment of a batch sees each room as it once was."""

    async def program(stage: Stage) -> None:
        a = stage.room("a")
        await a.post("0")
        await a.post("1")
        await stage.runtime.replicated()
        hold = stage.hold("write", "replica.db-wal")
        await a.post("2")
        with trio.move_on_after(5.0):
            while True:
                await hold.reached.wait()
                stage.look_at_replica()
                last, hold = hold, stage.hold("write", "replica.db-wal")
                last.release()
        hold.release()
        await stage.runtime.replicated()
        theatre.cut(stage, stage.now)

    theatre.live(program)


def replica_behind_the_outbox(theatre: Theatre) -> None:
    """Rule 28: a power cut takes the replica back to where the outbox does not reach any more."""

    async def first(stage: Stage) -> None:
        await stage.room("a").post("0")

    async def trimmed(stage: Stage) -> None:
        a = stage.room("a")
        await stage.start(*(a.post(str(number)) for number in range(1, 200)))
        await stage.runtime.replicated()
        await a.post("200")
        await a.post("201")
        theatre.cut(stage, stage.now)

    theatre.go_on(theatre.live(first))
    theatre.live(trimmed)


def replica_taken_back(theatre: Theatre) -> None:
    """Rule 18: a room is replicated and hibernates; the cut takes only the replica back, and nobody calls the room."""

    async def first(stage: Stage) -> None:
        await stage.room("a").post("0")

    async def drained(stage: Stage) -> None:
        await stage.room("a").post("1")
        await stage.runtime.replicated()
        await stage.hibernate("a")
        await stage.room("b").post("0")  # its round makes the row of a durable
        theatre.cut(stage, stage.now, uncalled=True)

    theatre.go_on(theatre.live(first))
    theatre.live(drained)


def room_restored(theatre: Theatre) -> None:
    """Rule 31: somebody puts an old copy of a room in its place, and it is written until it stands where it stood before."""

    async def first(stage: Stage) -> None:
        await stage.room("a").post("0")

    async def second(stage: Stage) -> None:
        await stage.room("a").post("1")

    async def again(stage: Stage) -> None:
        await stage.start(stage.room("a").post("2"), stage.room("a").post("3"))
        await stage.runtime.replicated()
        theatre.cut(stage, stage.now, uncalled=True)

    theatre.go_on(theatre.live(first))
    old = theatre.content(path_of("a"))
    theatre.go_on(theatre.live(second))
    theatre.replace(path_of("a"), old)
    theatre.history = History()  # what the old copy has not is lost, and nobody promised otherwise
    theatre.live(again)


def copy_put_in_place(theatre: Theatre) -> None:
    """An hour-old copy of the replica is put in its place, and until its replicator notices, somebody who has seen more reads."""

    async def program(stage: Stage) -> None:
        a = stage.room("a")
        await a.post("0")
        await stage.runtime.replicated()
        old = stage.copy_of_replica()
        await a.post("1")
        await stage.runtime.replicated()
        session = stage.client().session()
        await session.room(Chat, "a").listed()
        assert stage.replica_answers == 1
        stage.put_replica(old)
        await session.room(Chat, "a", "any").listed()
        theatre.cut(stage, stage.now)

    theatre.live(program)
