"""A room of alarms that keeps a log of what went off, and a runtime whose wall clock can be moved."""

import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import trio

from actors import Alarm, Disk, Doors, InlineThreads, Limits
from durable_rooms import Actor, Runtime
from durable_rooms.runtime import open_with_doors
from durable_rooms.testing import TEST_TIME


class Sorry(Exception):
    """What a handler raises here on purpose."""


class Reminders(Actor):
    migrations: ClassVar = ["CREATE TABLE log (id INTEGER PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, payload)"]
    fails: ClassVar[set[str]] = set()  # names whose handler raises, in every room

    def remind(self, name: str, seconds: float, payload: Any = None, every: float | None = None) -> float:
        at = self.now() + seconds
        self.alarms.set(name, at, payload, every=every)
        return at

    def remind_many(self, count: int, seconds: float) -> None:
        for number in range(count):
            self.alarms.set(f"{number:04}", self.now() + seconds + number % 10)

    def remind_and_raise(self, name: str, seconds: float) -> None:
        self.remind(name, seconds)
        raise Sorry(name)

    def cancel(self, name: str) -> bool:
        return self.alarms.cancel(name)

    def look(self, name: str) -> dict[str, Any] | None:
        alarm = self.alarms.get(name)
        return None if alarm is None else shown(alarm)

    def listed(self, prefix: str = "") -> list[dict[str, Any]]:
        return [shown(alarm) for alarm in self.alarms.items(prefix)]

    def dead(self) -> list[dict[str, Any]]:
        return [shown(alarm) for alarm in self.alarms.dead()]

    def log(self) -> list[list[Any]]:
        """Names, and how many seconds after TEST_TIME each went off."""
        return [[row.name, round(row.at - TEST_TIME, 3)] for row in self.sql("SELECT name, at FROM log ORDER BY id")]

    def payloads(self) -> list[Any]:
        return self.sql("SELECT payload FROM log ORDER BY id").scalars()

    def ping(self) -> None:
        pass

    def write(self, name: str, payload: Any = None) -> None:
        self.sql("INSERT INTO log (name, at, payload) VALUES (?, ?, ?)", name, self.now(), payload)

    def on_alarm(self, name: str, payload: Any) -> None:
        self.write(name, json.dumps(payload) if isinstance(payload, dict) else payload)
        if name in self.fails:
            raise Sorry(name)


def shown(alarm: Alarm) -> dict[str, Any]:
    return {
        "name": alarm.name,
        "in": round(alarm.at - TEST_TIME, 3),
        "payload": alarm.payload,
        "every": alarm.every,
        "tries": alarm.tries,
        "reason": alarm.reason,
    }


class WallClock:
    """Trio's, from TEST_TIME on, moved by `jump` seconds."""

    def __init__(self) -> None:
        self.jump = 0.0

    def __call__(self) -> float:
        return TEST_TIME + trio.current_time() % 1e6 + self.jump


@asynccontextmanager
async def opened(
    path: Path,
    actor: type[Actor] = Reminders,
    *,
    clock: WallClock | None = None,
    limits: Limits | None = None,
    disk: Disk | None = None,
    replicas: Any = (),
) -> AsyncGenerator[Runtime]:
    """A runtime in a directory, whose wall clock goes on where that of an earlier one stood."""
    doors = Doors(disk=disk or Disk(), threads=InlineThreads(), wall_clock=clock or WallClock(), random=Random(0))
    async with open_with_doors(path, [actor], replicas=replicas, limits=limits, doors=doors) as runtime:
        yield runtime


def killed(path: Path) -> Path:
    """The directory as a process that is killed now leaves it."""
    return Path(shutil.copytree(path, path.with_name(f"{path.name}-killed")))
