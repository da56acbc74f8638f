"""What is told while something is measured: on a terminal one line that is overwritten, with a bar for long work (rich, where
it is installed); elsewhere one plain line a case, and one every few seconds of long work.

Nothing draws by itself: a thread that redraws would be measured, too.
"""

import sys
from io import StringIO
from time import monotonic
from typing import TextIO

DRAW_SECONDS = 0.25
PLAIN_SECONDS = 10.0
BAR_WIDTH = 30
LINE_WIDTH = 150


class Progress:
    """Told as often as one likes, speaks a few times."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stderr
        self._live = self._out.isatty()
        self._shown = ""
        self._next = 0.0

    def case(self, benchmark: str, case: str) -> None:
        self._shown = f"{benchmark} · {case}" if case else benchmark
        self._next = monotonic() + PLAIN_SECONDS
        self._write("")
        if not self._live:
            print(f"measuring {self._shown}", file=self._out, flush=True)

    def step(self, what: str) -> None:
        self._write(f" · {what}")

    def share(self, what: str, done: float) -> None:
        """Long work: `done` of it, from 0 to 1."""
        now = monotonic()
        if now < self._next and (done < 1.0 or not self._live):
            return
        self._next = now + (DRAW_SECONDS if self._live else PLAIN_SECONDS)
        if self._live:
            self._write(f" · {bar(done)} {done:4.0%} {what}")
        else:
            print(f"  {self._shown} · {done:4.0%} {what}", file=self._out, flush=True)

    def done(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=self._out, flush=True)

    def _write(self, more: str) -> None:
        if self._live:
            print(f"\r\033[K  {self._shown}{more}"[:LINE_WIDTH], end="", file=self._out, flush=True)


def bar(done: float) -> str:
    """A bar of rich, as text; without rich one of signs."""
    done = min(1.0, max(0.0, done))
    try:
        from rich.console import Console
        from rich.progress_bar import ProgressBar
    except ImportError:
        full = round(done * BAR_WIDTH)
        return "#" * full + "." * (BAR_WIDTH - full)
    console = Console(file=StringIO(), width=BAR_WIDTH, color_system=None)
    console.print(ProgressBar(total=1.0, completed=done, width=BAR_WIDTH), end="")
    text = console.file.getvalue().rstrip("\n")
    return text.ljust(BAR_WIDTH)
