"""What is told while a sweep is under way: a bar on a terminal, a line a second elsewhere."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from durable_rooms.migrate import Sweep

DRAW_SECONDS = 0.1
PLAIN_SECONDS = 1.0


class Sweeping:
    """Called at each room; speaks now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._every = DRAW_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._next = time.monotonic() + (0.0 if console.is_terminal else PLAIN_SECONDS)
        self._began = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[words]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True)
        self._task = self._bar.add_task("", total=None, words="")

    def __enter__(self) -> "Sweeping":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, report: Sweep) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        if not self._console.is_terminal:
            self._console.print(f"{now - self._began:4.0f} s  {what(report)}: {words(report, now - self._began)}", soft_wrap=True)
            return
        self._bar.update(
            self._task,
            description=what(report),
            total=max(report.todo, 1),
            completed=report.done + report.failed,
            words=words(report, now - self._began),
        )
        self._bar.refresh()


def what(report: Sweep) -> str:
    return {"opening": "opening", "rooms": "migrating", "replica": "replica catches up", "closing": "closing"}[report.phase]


def words(report: Sweep, seconds: float) -> str:
    if report.phase == "replica":
        return f"{report.replica_rows:,} rows brought over"
    failed = f", {report.failed:,} failed" if report.failed else ""
    done = report.done + report.failed
    return f"{done:,} of {report.todo:,} rooms, {done / seconds if seconds else 0.0:,.0f}/s{failed}"
