"""`durable-rooms demo`: choose the feed and the directory, run, tell."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from durable_rooms.demo.chat import Chat
from durable_rooms.demo.child import ServerDied
from durable_rooms.demo.irc import Logs, LogUnfit
from durable_rooms.demo.line import Feed
from durable_rooms.demo.progress import Progress
from durable_rooms.demo.run import Directory, DirectoryUnfit, directory, run_demo
from durable_rooms.demo.verdict import figures, show
from durable_rooms.verify import NotADataDirectory

PASSED, FAILED, WRONG = 0, 1, 2


def demo_command(logs: list[Path], rooms: int, users: int, seconds: float, data: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    console = Console(stderr=as_json, highlight=False)
    try:
        feed = Logs(logs) if logs else Chat(rooms, users, seconds)
        with directory(data) as place:
            return drive(console, feed, place, as_json=as_json)
    except (LogUnfit, DirectoryUnfit) as error:
        print(f"durable-rooms demo: {error}", file=sys.stderr)
        return WRONG


def drive(console: Console, feed: Feed, place: Directory, *, as_json: bool) -> int:
    console.print(Text.assemble(("durable-rooms demo  ", "bold"), feed.description))
    console.print(
        Text("The rooms live in a server process. This process keeps the ledger, and will kill the server half-way.", "dim")
    )
    progress = Progress(console)
    try:
        with progress.shown():
            outcome = run_demo(feed, place.path, progress.driving, progress.checking)
    except (ServerDied, NotADataDirectory) as error:
        place.keep = True
        console.print(Text.assemble(("FAILED  ", "bold red"), str(error)), soft_wrap=True)
        console.print(Text(f"The data is kept in {place.path}"), soft_wrap=True)
        return FAILED
    place.keep = place.keep or not outcome.passed
    show(console, outcome, place.path, kept=place.keep)
    if as_json:
        print(json.dumps(figures(outcome)))
    return PASSED if outcome.passed else FAILED
