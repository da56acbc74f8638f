"""What else goes wrong in a life, at moments that the seed chooses: the replica, the clock, callers, rooms that must leave.

Faults of single disk operations are in `faults`. Each trouble is a coroutine of a life; it ends when the trouble is over.
"""

import errno
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol

import apsw
import trio

from actors.names import RoomName
from durable_rooms.runtime import Runtime
from durable_rooms.simulation.disk import FREE_BYTES, SimulatedDisk
from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.threads import Slow, SteppedThreads


class Stage(Protocol):
    """What troubles need of a life."""

    runtime: Runtime
    disk: SimulatedDisk
    threads: SteppedThreads
    clock_offset: float
    lasting: list[Fault | Slow]
    replicas: tuple[str, ...]  # their files; a trouble strikes one of them
    replica_copies: list[tuple[str, bytes]]  # of which one
    visits: list[trio.CancelScope | None]

    def rooms(self) -> list[RoomName]: ...
    def met(self, name: str) -> None: ...


Trouble = Callable[[Stage, Random], Awaitable[bool]]  # True if it struck; lasting ones are counted by what they have struck

REPLICA, SECOND = "replica.db", "replica-2.db"
FULL_SECONDS, LOCKED_SECONDS, SLOW_SECONDS, HANGING_SECONDS = 3.0, 20.0, 30.0, 60.0
GONE_SECONDS = 600.0


async def rooms_close(life: Stage, chance: Random) -> bool:
    """An idle room leaves memory at an awkward moment."""
    struck = False
    for name in life.rooms():
        activation = life.runtime.seated(name)
        if activation is not None and activation.idle and chance.random() < 0.7:
            activation.leave()
            struck = True
    return struck


async def rooms_tidied(life: Stage, chance: Random) -> bool:
    """What rooms left in their WALs is taken into the databases now."""
    await life.runtime.tidying.finish()
    return True


async def clock_jumps(life: Stage, chance: Random) -> bool:
    life.clock_offset += chance.choice([-3_600.0, 86_400.0])
    return True


async def syncs_are_slow(life: Stage, chance: Random) -> bool:
    await _slowed(life, Slow("sync began", "rooms/*", chance.uniform(0.05, 2.0), chance.randrange(1, 4), "slow syncs"))
    return False


async def disk_is_full(life: Stage, chance: Random) -> bool:
    """Every write fails, and the free space says so."""
    short = chance.random() < 0.3
    fault = Fault("write", "*", code=errno.ENOSPC, times=float("inf"), short=short, name="disk full")
    life.lasting.append(life.disk.fail(fault))
    life.disk.free = 0
    await trio.sleep(chance.uniform(0.0, FULL_SECONDS))
    life.disk.faults.remove(fault)
    life.disk.free = FREE_BYTES
    return False


async def writeback_fails(life: Stage, chance: Random) -> bool:
    """The kernel could not write back by itself, and nobody has asked yet."""
    paths = [path for path in sorted(life.disk.world.names) if path.startswith("rooms/") and path.endswith((".db", "-wal"))]
    chance.shuffle(paths)
    return any(life.disk.writeback_fails(path, evict=chance.random() < 0.3) for path in paths)


async def callers_leave(life: Stage, chance: Random) -> bool:
    """A caller is cancelled: its request was closed."""
    scopes = [scope for scope in life.visits if scope is not None]
    if not scopes:
        return False
    chance.choice(scopes).cancel()
    return True


# -- the replica ----------------------------------------------------------------------------------------------------------
async def replica_hangs(life: Stage, chance: Random) -> bool:
    await _slowed(life, Slow("write", f"{_victim(life, chance)}*", HANGING_SECONDS, 1, "replica hangs"))
    return False


async def replica_locked(life: Stage, chance: Random) -> bool:
    """Another program holds the write lock."""
    path = life.disk.root / _victim(life, chance)
    if not path.exists():
        return False
    try:
        connection = life.disk.connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE").fetchall()
            life.met("replica locked")
            await trio.sleep(chance.uniform(0.1, LOCKED_SECONDS))
            connection.execute("ROLLBACK").fetchall()
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close()
    except apsw.Error:
        pass  # somebody else has it
    return False


async def replica_deleted(life: Stage, chance: Random) -> bool:
    return take_away(life, _victim(life, chance))


async def replica_restored(life: Stage, chance: Random) -> bool:
    """Somebody puts back the copy of an hour ago, of two replicas perhaps that of the other one."""
    copies = life.replica_copies
    if not copies:
        return False
    replica, content = chance.choice(copies)
    if len(life.replicas) > 1:
        replica = chance.choice(life.replicas)
    take_away(life, replica)
    life.disk.put(life.disk.root / replica, content)
    return True


async def replica_corrupt(life: Stage, chance: Random) -> bool:
    """Garbage over its first sector. (Garbage inside a row is found by nobody but `verify`: SQLite keeps no checksums.)"""
    path = life.disk.root / _victim(life, chance)
    if not path.exists() or not path.stat().st_size:
        return False
    life.disk.scribble(path, 0, chance.randbytes(512))
    return True


async def replica_gone(life: Stage, chance: Random) -> bool:
    """Its file system went away, for up to ten minutes: every operation fails."""
    files = f"{_victim(life, chance)}*"
    faults = [Fault(kind, files, code=errno.EIO, times=float("inf"), name="replica gone") for kind in ("any", "open", "read")]
    life.lasting += [life.disk.fail(fault) for fault in faults]
    await trio.sleep(chance.uniform(0.0, GONE_SECONDS))
    for fault in faults:
        life.disk.faults.remove(fault)
    return False


async def _slowed(life: Stage, slow: Slow) -> None:
    life.lasting.append(slow)
    life.threads.slow.append(slow)
    await trio.sleep(SLOW_SECONDS)
    life.threads.slow.remove(slow)


def _victim(life: Stage, chance: Random) -> str:
    """Nothing is drawn for one: its seeds stay what they were."""
    first, *others = life.replicas
    return chance.choice(life.replicas) if others else first


def take_away(life: Stage, replica: str = REPLICA) -> bool:
    """A replica and all that belongs to it."""
    removed = False
    for suffix in ("", "-wal", "-shm"):
        removed |= life.disk.remove(life.disk.root / f"{replica}{suffix}")
    return removed


TROUBLES: dict[str, Trouble] = {
    "room closed": rooms_close,
    "rooms tidied": rooms_tidied,
    "clock jump": clock_jumps,
    "slow syncs": syncs_are_slow,
    "disk full": disk_is_full,
    "writeback failed": writeback_fails,
    "caller cancelled": callers_leave,
    "replica hangs": replica_hangs,
    "replica locked": replica_locked,
    "replica deleted": replica_deleted,
    "replica restored": replica_restored,
    "replica corrupt": replica_corrupt,
    "replica gone": replica_gone,
}
