"""Power cuts: a seeded workload over a recording disk, images of it at many moments, and what each must still hold.

A life has three stays: a fresh directory; the same after a SIGKILL (the page cache stays, so nothing more is durable than
before), with a newer class whose migration runs; the same after a power cut. Each stay is cut at many places, in the midst of
syncs and checkpoints, too. Everything that was acknowledged or shown until then must be in the image that is opened again.
"""

import contextlib
import errno
import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw
import trio

from actors import Disk, Limits
from actors.names import DataDir, RoomName
from durable_rooms import Room, RoomsError, Runtime
from tests.durability.chat import Chat, GrownChat, Refused, opened
from tests.durability.recording import RecordingDisk
from tests.durability.stepped import SteppedThreads
from tests.durability.world import Event, Keep, World, world_of, write_image

ROOMS = ("a", "b", "c", "d")
CALLERS = 4
LIMITS = Limits(open_rooms_max=2, wal_bytes_max=60_000, broken_rooms_max=1_000)  # hibernations and checkpoints all the time


class UnsyncedDisk(Disk):
    """For looking at an image: nothing is cut any more."""

    def sync_data(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass

    def sync_file_system(self, fd: int) -> None:
        pass


@dataclass
class Ledger:
    """What callers were told, per room: ids that must be there, and the highest seq that was acknowledged."""

    ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    seq: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def note(self, event: Event) -> None:
        if event.kind == "reply":
            room, ids, seq = json.loads(event.other)
            self.ids[room].update(ids)
            self.seq[room] = max(self.seq[room], seq)


@dataclass
class Verdict:
    images: int = 0
    problems: list[str] = field(default_factory=list)


def live_and_cut(path: Path, seed: int, *, cuts: int, faults: bool = False) -> Verdict:
    """One life with `cuts` images of each stay; replays exactly from its seed."""
    chance = Random(seed)
    verdict = Verdict()
    ledger = Ledger()
    world: World | None = None
    for stay, (actor, end) in enumerate(((Chat, Keep.ALL), (GrownChat, Keep.SOME), (GrownChat, Keep.SOME))):
        disk = RecordingDisk(path / f"stay-{stay}", threads := SteppedThreads(chance), world)
        if faults:
            _plan_faults(disk, chance)
        _run_seeded(seed, _stay, disk, threads, actor, chance, f"{seed}.{stay}")
        disk.forget()
        world, before = world or World(), len(verdict.problems)
        last = chance.randrange(len(disk.events) // 2, len(disk.events))
        _cut(path, disk.events[:last], world, ledger, chance, cuts, verdict, f"seed {seed}, stay {stay}", seed)
        if len(verdict.problems) > before:
            break
        image = world.image(end, chance)
        write_image(image, path / f"stay-{stay + 1}")
        if end is not Keep.ALL:
            world = world_of(image)
    return verdict


def _run_seeded(seed: int, function, *args) -> None:
    """trio shuffles its tasks; here from the seed."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio._core._run._r.seed(seed)
    trio.run(function, *args)


def _plan_faults(disk: RecordingDisk, chance: Random) -> None:
    disk.fail("sync", "rooms/*-wal", by="ours", first=chance.randrange(3, 40), code=chance.choice([errno.EIO, errno.ENOSPC]))
    disk.fail("sync", "rooms/*.db*", by="sqlite", first=chance.randrange(3, 40))
    disk.fail("sync", "rooms/*.db", by="ours", first=chance.randrange(1, 6))
    disk.fail("write", "rooms/*", by="sqlite", first=chance.randrange(60, 600), code=errno.ENOSPC)
    disk.fail("file system sync", first=chance.randrange(1, 8))


# -- the workload -----------------------------------------------------------------------------------------------------
async def _stay(disk: RecordingDisk, threads: SteppedThreads, actor: type[Chat], chance: Random, prefix: str) -> None:
    async with opened(disk.root, disk, threads, limits=LIMITS, actor=actor) as runtime, trio.open_nursery() as nursery:
        for caller in range(CALLERS):
            nursery.start_soon(_caller, disk, runtime, actor, chance, f"{prefix}.{caller}")


async def _caller(disk: RecordingDisk, runtime: Runtime, actor: type[Chat], chance: Random, prefix: str) -> None:
    for number in range(8):
        room = runtime.room(actor, chance.choice(ROOMS))
        with contextlib.suppress(RoomsError, Refused, apsw.Error):  # refused, rolled back or unknown: not acknowledged
            await _call(disk, runtime, room, chance, f"{prefix}.{number}")
        for _ in range(chance.randrange(20)):
            await trio.lowlevel.checkpoint()


async def _call(disk: RecordingDisk, runtime: Runtime, room: Room[Chat], chance: Random, id: str) -> None:
    kind = chance.choice(["post", "post", "post", "long", "read", "raise", "slow", "draft", "hibernate", "tidy"])
    if kind in ("post", "long"):
        reply = await room.ask(Chat.post, id, "x" * (30_000 if kind == "long" else 10))
        disk.reply(json.dumps([room.id, [id], reply.seq]))
    elif kind == "slow":
        seen = await room.post_slowly(id, 0)
        disk.reply(json.dumps([room.id, seen, 0]))
    elif kind == "read":
        disk.reply(json.dumps([room.id, await room.ids(), 0]))
    elif kind == "hibernate":
        activation = runtime.seated(RoomName(room.actor.__name__, room.id))
        if activation is not None and activation.idle:
            activation.leave()
    elif kind == "tidy":
        await runtime.tidying.finish()
    elif kind == "raise":
        await room.post_and_raise(id)
    else:
        await room.draft(id)


# -- the cuts ---------------------------------------------------------------------------------------------------------
def _cut(
    path: Path,
    events: list[Event],
    world: World,
    ledger: Ledger,
    chance: Random,
    cuts: int,
    verdict: Verdict,
    where: str,
    seed: int,
) -> None:
    """Play the events, look at images on the way; world and ledger end where the events do."""
    places = _places(events, chance, cuts)
    for place, event in enumerate(events):
        if places and place == places[0]:
            places.pop(0)
            keep = chance.choice([Keep.NOTHING, Keep.NOTHING, Keep.SOME, Keep.SOME, Keep.SOME, Keep.ALL])
            image = path / "image"
            write_image(world.image(keep, chance), image)
            verdict.images += 1
            for problem in _problems(image, ledger, seed):
                verdict.problems.append(f"{where}, cut at event {place} keeping {keep.name}: {problem}")
            _empty(image)
        world.apply(event)
        ledger.note(event)


def _places(events: list[Event], chance: Random, count: int) -> list[int]:
    """Where to cut: anywhere, with syncs in flight, and just after replies, where a promise is youngest."""
    born = next(place for place, event in enumerate(events) if event.path.startswith("rooms/") and ".db" in event.path)
    anywhere = list(range(born, len(events)))
    in_flight = [
        place
        for place in anywhere
        if events[place].kind in ("sync returned", "file system sync returned") and events[place].by == "ours"
    ]
    replied = [place + 1 for place in anywhere[:-1] if events[place].kind == "reply"]
    return sorted({chance.choice(chance.choice([anywhere, in_flight or anywhere, replied or anywhere])) for _ in range(count)})


def _empty(image: Path) -> None:
    """Remove the files. The folders stay: all are durable before the first birth, and making 257 costs more than the rest."""
    for folder in {image, image / "litter", *(DataDir(image).room(RoomName("Chat", id)).parent for id in ROOMS)}:
        for file in folder.glob("*.*") if folder.exists() else ():
            file.unlink()


def _problems(image: Path, ledger: Ledger, seed: int) -> list[str]:
    problems: list[str] = []
    try:
        _run_seeded(seed, _look, image, ledger, problems)
    except Exception as error:
        problems.append(f"the runtime failed: {error!r}")
    for id in ROOMS:
        file = DataDir(image).room(RoomName("Chat", id))
        if file.exists() and not _is_sound(file):
            problems.append(f"{id}: damaged after reopening")
    return problems


def _is_sound(file: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            return connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    except sqlite3.DatabaseError:
        return False


async def _look(image: Path, ledger: Ledger, problems: list[str]) -> None:
    async with opened(image, UnsyncedDisk(), actor=GrownChat) as runtime:
        rows = {name.id: (position, active) for name, position, active in runtime.positions()}
        for id in ROOMS:
            if ledger.seq[id]:
                position, active = rows.get(id, (None, False))
                if not active and (position is None or position.seq < ledger.seq[id]):
                    problems.append(f"{id}: the catalog does not know of seq {ledger.seq[id]}: {position}")
            try:
                found = await runtime.room(GrownChat, id).ids()
            except Exception as error:
                problems.append(f"{id}: {error!r}")
                continue
            lost = ledger.ids[id] - set(found)
            if lost or len(set(found)) != len(found):
                problems.append(f"{id}: lost {sorted(lost)} of {len(ledger.ids[id])}")
