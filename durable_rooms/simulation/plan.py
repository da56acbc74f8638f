"""What a seed stands for, spelled out before anything runs: lives and how they end, faults, troubles, how often it is cut."""

import errno
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from durable_rooms.simulation.faults import Fault
from durable_rooms.simulation.troubles import REPLICA, SECOND, TROUBLES

End = Literal["stopped", "killed", "cut"]

LIVES = 3
CUTS = 50  # of a life; 1,000 seeds of 3 lives give 150,000
HEALTHY = 0.3  # of the seeds have no faults of the disk: most errors of order show without, and faster
ROOMY = 0.3  # of the lives
SECOND_REPLICA = 0.2  # of the lives have two replicas
FAULTS_MAX, TROUBLES_MAX = 3, 5  # a life


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """A fault of the disk (see Fault), as text and numbers only, so that plans can be compared and printed."""

    name: str
    kind: str
    pattern: str
    by: str | None
    code: int
    first: int
    short: bool = False
    evict: bool = False

    def make(self) -> Fault:
        return Fault(self.kind, self.pattern, self.code, self.by, self.first, short=self.short, evict=self.evict, name=self.name)


@dataclass(frozen=True, slots=True)
class LifePlan:
    end: End
    clients: int
    visits: int
    faults: tuple[FaultPlan, ...] = ()
    troubles: tuple[tuple[str, float], ...] = ()  # name, virtual seconds after the start
    roomy: bool = False  # four times as many rooms may be in memory: a round has many, and syncs the file system
    second: bool = False  # it has a second replica; in a life without, one that is there lies idle


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    lives: tuple[LifePlan, ...]
    cuts: int = CUTS

    def lines(self) -> list[str]:
        """For people: what the seed expands to."""
        lines: list[str] = []
        for number, life in enumerate(self.lives, 1):
            roomy = ", many places" * life.roomy + ", two replicas" * life.second
            lines.append(f"life {number}: {life.clients} clients, {life.visits} visits each{roomy}; then it is {life.end}")
            lines += [f"  {fault.make()}" for fault in life.faults]
            lines += [f"  {name} at {when:.3f} s" for name, when in life.troubles]
        return lines


# name, kind, pattern, by, the first-th to come at most
_FAULTS: tuple[tuple[str, str, str, str | None, int], ...] = (
    ("sync of a WAL failed", "sync", "rooms/*-wal", "ours", 40),
    ("sync of a room by SQLite failed", "sync", "rooms/*.db*", "sqlite", 40),
    ("sync of a newborn failed", "sync", "rooms/*.db", "ours", 6),
    ("write to a room failed", "write", "rooms/*", "sqlite", 600),
    ("file system sync failed", "file system sync", "*", None, 2),  # few rounds are so large
    ("directory sync failed", "directory sync", "rooms/*", None, 12),
    ("truncate failed", "truncate", "rooms/*", None, 6),
    ("open failed", "open", "rooms/*", None, 20),
    ("read failed", "read", "rooms/*", "sqlite", 60),
    ("rename failed", "rename", "*", None, 6),
    ("unlink failed", "unlink", "*", None, 10),
    ("replica write failed", "write", "replica.db*", "sqlite", 60),
    ("replica read failed", "read", "replica.db*", "sqlite", 60),
    ("replica open failed", "open", "replica.db*", None, 4),
    ("replica sync failed", "sync", "replica.db*", None, 4),
    ("catalog sync failed", "sync", "catalog.db*", None, 40),
)
FAULT_NAMES = tuple(name for name, *_ in _FAULTS)


def plan_of(seed: int, clients: int, visits: int, *, lives: int = LIVES, cuts: int = CUTS) -> Plan:
    """Expand a seed."""
    chance = Random(f"plan {seed}")
    healthy = chance.random() < HEALTHY
    planned = [_life(chance, clients, visits, healthy=healthy) for _ in range(lives)]
    others = Random(f"replicas {seed}")  # chance of its own: the other lives stay what they were
    return Plan(seed, tuple(_twofold(life, others) if others.random() < SECOND_REPLICA else life for life in planned), cuts)


def _twofold(life: LifePlan, chance: Random) -> LifePlan:
    """With a second replica, which half of the faults of the first one strike instead."""
    faults = tuple(
        replace(fault, pattern=fault.pattern.replace(REPLICA, SECOND)) if chance.random() < 0.5 else fault
        for fault in life.faults
    )
    return replace(life, second=True, faults=faults)


def _life(chance: Random, clients: int, visits: int, *, healthy: bool) -> LifePlan:
    ends: tuple[End, ...] = ("stopped", "killed", "killed", "cut", "cut")
    faults = () if healthy else tuple(_fault(chance) for _ in range(chance.randrange(FAULTS_MAX + 1)))
    names = list(TROUBLES)
    troubles = [(chance.choice(names), chance.expovariate(1 / 0.3)) for _ in range(chance.randrange(TROUBLES_MAX + 1))]
    in_order = tuple(sorted(troubles, key=lambda one: one[1]))
    end, roomy = chance.choice(ends), chance.random() < ROOMY
    roomy = roomy or any(fault.kind == "file system sync" for fault in faults)  # elsewhere no round syncs the file system
    if roomy:
        clients, visits = clients * 2, max(1, visits // 2)
    return LifePlan(end, clients, visits, faults, in_order, roomy)


def _fault(chance: Random) -> FaultPlan:
    name, kind, pattern, by, first_max = chance.choice(_FAULTS)
    full = kind in ("sync", "write", "file system sync") and chance.random() < 0.3
    return FaultPlan(
        name,
        kind,
        pattern,
        by,
        errno.ENOSPC if full else errno.EIO,
        chance.randrange(1, first_max + 1),
        short=kind == "write" and chance.random() < 0.3,
        evict=kind == "sync" and chance.random() < 0.5,
    )


def without(plan: Plan, life: int, *, fault: int | None = None, trouble: int | None = None) -> Plan:
    """The same with one fault or trouble less."""
    one = plan.lives[life]
    if fault is not None:
        one = replace(one, faults=one.faults[:fault] + one.faults[fault + 1 :])
    if trouble is not None:
        one = replace(one, troubles=one.troubles[:trouble] + one.troubles[trouble + 1 :])
    return replace(plan, lives=(*plan.lives[:life], one, *plan.lives[life + 1 :]))
