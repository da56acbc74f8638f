"""The status file: `DATA/status.json`, what a running process says of itself, for `durable-rooms status` and other readers.

Looked at once a second and written when a figure has changed, every 5 s otherwise, as a sign of life. Written aside and renamed,
so that a reader never sees half of it, and never synced: after a crash it is worth nothing but its age. Removed at a clean stop.

    {"format": 1, "pid": …, "started": …, "written": …, "failure": null, "commits_per_second": …, "rounds_per_second": …,
     "status": {…}, "limits": {…}}

`failure` is why a runtime that stopped itself did so. `status` and `limits` are the runtime's own dataclasses, field by field:
what is added there is added here.
"""

import json
import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

import trio

import actors

logger = logging.getLogger("durable_rooms")

FORMAT = 1
STATUS_FILE = "status.json"
PERIOD_SECONDS = 1.0  # a person reads it; one write costs a thread 0.1 ms
HEARTBEAT_SECONDS = 5.0


def _news(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What is worth a write: not the free space, which other programs change all the time."""
    return {**figures, "status": {name: value for name, value in figures["status"].items() if name != "free_bytes"}}


class StatusFile:
    """Of one runtime, from its start to its stop."""

    def __init__(self, runtime: actors.Runtime) -> None:
        self._runtime = runtime
        self._path = runtime.directory.path / STATUS_FILE
        self._aside = self._path.with_name(STATUS_FILE + ".new")
        self._started = runtime.doors.wall_clock()
        self._seen: tuple[float, int, int] | None = None  # when, commits, rounds
        self._written: tuple[float, dict[str, Any]] | None = None  # when, and what
        self._complained = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._look()
                await trio.sleep(PERIOD_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    async def _end(self) -> None:
        """After a failure the last words stay, and say why."""
        threads, failure = self._runtime.doors.threads, self._runtime.failure
        if failure is None:
            await threads.run(self._remove)
        else:
            await threads.run(self._write, self._said(self._figures(trio.current_time()), failure=str(failure)))

    async def _look(self) -> None:
        """Write what has changed."""
        now = trio.current_time()
        figures = self._figures(now)
        if self._written is not None:
            at, before = self._written
            if before == _news(figures) and now - at < HEARTBEAT_SECONDS:
                return
        self._written = now, _news(figures)
        await self._runtime.doors.threads.run(self._write, self._said(figures))

    def _said(self, figures: Mapping[str, Any], *, failure: str | None = None) -> bytes:
        about = {"format": FORMAT, "pid": os.getpid(), "started": self._started, "written": self._runtime.doors.wall_clock()}
        return json.dumps({**about, "failure": failure, **figures}).encode()

    def _figures(self, now: float) -> dict[str, Any]:
        status = self._runtime.status()
        before, self._seen = self._seen, (now, status.commits, status.rounds)
        at, commits, rounds = before or self._seen
        seconds = max(now - at, 1e-9)
        return {
            "commits_per_second": round((status.commits - commits) / seconds, 1),
            "rounds_per_second": round((status.rounds - rounds) / seconds, 1),
            "status": plain(status),
            "limits": plain(self._runtime.limits),
        }

    def _write(self, content: bytes) -> None:
        """Nobody's rooms depend on it: what goes wrong is said once, and tried again with the next figures."""
        disk = self._runtime.doors.disk
        try:
            disk.replace_unsynced(self._path, self._aside, content)
        except OSError as error:
            if not self._complained:
                logger.warning("%s cannot be written (%s); rooms are not concerned, `durable-rooms status` is", self._path, error)
            self._complained = True
        else:
            self._complained = False

    def _remove(self) -> None:
        disk = self._runtime.doors.disk
        for path in (self._aside, self._path):
            try:
                disk.unlink(path)
            except OSError as error:
                logger.warning("%s cannot be removed (%s); it only looks as if the process had been killed", path, error)


def plain(value: object) -> Any:
    """As JSON has it; what it cannot have, as text, and infinity as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in cast(Mapping[object, object], value).items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(one) for one in cast(Iterable[object], value)]
    return str(value)
