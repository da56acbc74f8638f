"""What is told while the demo runs: a live block on a terminal, plain lines elsewhere."""

import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from durable_rooms.demo.ledger import Ledger, percentile
from durable_rooms.demo.replay import Course

DRAW_SECONDS = 0.25
PLAIN_SECONDS = 2.0
RATE_SECONDS = 2.0  # the rate that is shown is that of the last two seconds


class Progress:
    """Told many times a second, speaks a few times."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._every = DRAW_SECONDS if console.is_terminal else PLAIN_SECONDS
        self._began = time.monotonic()
        self._next = 0.0
        self._stage = ""
        self._samples: deque[tuple[float, int]] = deque()

    @contextmanager
    def shown(self) -> Generator[None]:
        """The live block is on the screen inside, and gone afterwards."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, transient=True, auto_refresh=False) as self._live:
            yield

    def driving(self, ledger: Ledger, course: Course) -> None:
        if course.stage != self._stage:
            self._stage = course.stage
            self._announce(course)
            self._samples.clear()
            self._rate(time.monotonic(), ledger.acknowledged)
            self._next = 0.0 if self._live else time.monotonic() + self._every
        if (now := time.monotonic()) >= self._next:
            self._next = now + self._every
            rate = self._rate(now, ledger.acknowledged)
            if self._live:
                self._live.update(block(ledger, course, rate), refresh=True)
            elif ledger.acknowledged:
                self._console.print(plain(ledger, course, rate, now - self._began), soft_wrap=True)

    def checking(self, what: str, done: float) -> None:
        now = time.monotonic()
        if what != self._stage:
            self._stage = what
            self._next = 0.0
            if not self._live:
                self._console.print(f"{what} …")
        if self._live and now >= self._next:
            self._next = now + self._every
            self._live.update(bar(what, done), refresh=True)

    def _announce(self, course: Course) -> None:
        if course.stage == "killed":
            self._console.print(
                f"[bold red]✗ SIGKILL[/]  the server process is dead: {course.acknowledged_at_kill:,} lines acknowledged, "
                f"{course.in_flight_at_kill:,} calls in flight",
                soft_wrap=True,
            )
        elif course.kills and course.stage == "posting again":
            self._console.print(
                f"[bold green]✓ restarted[/] a new process takes posts after {course.away_seconds:.2f} s", highlight=False
            )

    def _rate(self, now: float, acknowledged: int) -> float:
        self._samples.append((now, acknowledged))
        while len(self._samples) > 2 and now - self._samples[0][0] > RATE_SECONDS:
            self._samples.popleft()
        seconds = now - self._samples[0][0]
        return (acknowledged - self._samples[0][1]) / seconds if seconds else 0.0


def plain(ledger: Ledger, course: Course, rate: float, seconds: float) -> str:
    p50, p99 = (1000 * percentile(ledger.recent, share) for share in (0.5, 0.99))
    return (
        f"{seconds:4.0f} s  {course.done:4.0%}  {ledger.acknowledged:>9,} acknowledged  {rate:>7,.0f}/s  "
        f"{len(ledger.rooms):,} rooms  p50 {p50:.1f} ms  p99 {p99:.1f} ms  replica lag {1000 * course.lag:.0f} ms"
    )


def block(ledger: Ledger, course: Course, rate: float) -> RenderableType:
    p50, p99 = (1000 * percentile(ledger.recent, share) for share in (0.5, 0.99))
    table = Table.grid(padding=(0, 3))
    for _ in range(4):
        table.add_column(no_wrap=True)
    cells = [
        ("acknowledged", f"{ledger.acknowledged:,}", "posts/s", f"{rate:,.0f}"),
        ("rooms", f"{len(ledger.rooms):,}", "call p50", f"{p50:.1f} ms"),
        ("replica lag", f"{1000 * course.lag:.0f} ms", "call p99", f"{p99:.1f} ms"),
    ]
    for left, a, right, b in cells:
        table.add_row(Text(left, "dim"), Text(f"{a:>9}", "bold"), Text(right, "dim"), Text(f"{b:>9}", "bold"))
    return Group(Text(), bar(course.stage, course.done), Text(), table)


def bar(what: str, done: float) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=1.0, completed=done, width=40), Text(f"{done:4.0%}", "bold"), Text(what, "cyan"))
    return row
