"""The whole demo in order: a directory, the drive, the check, an outcome."""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from durable_rooms.demo.check import Findings, check
from durable_rooms.demo.child import ServerProcess
from durable_rooms.demo.ledger import Ledger
from durable_rooms.demo.line import Feed
from durable_rooms.demo.replay import Course, Replay


class DirectoryUnfit(Exception):
    """The demo cannot work in this directory; the message says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    feed: Feed
    ledger: Ledger
    course: Course
    findings: Findings

    @property
    def passed(self) -> bool:
        return self.findings.clean and not self.ledger.refused


def run_demo(
    feed: Feed, data: Path, look: Callable[[Ledger, Course], None], look_at_check: Callable[[str, float], None]
) -> Outcome:
    """Post a feed, kill the server half-way, and check.

    Args:
      data: an empty directory.
      look: called many times a second during the drive.
      look_at_check: called many times during the check, with what is read and how far it is, 0 to 1.

    Raises:
      ServerDied: the server ended other than by our kill.
      NotADataDirectory: it left nothing that could be checked.
    """
    ledger = Ledger(run=secrets.token_hex(3))
    replay = Replay(
        feed,
        ledger,
        look=lambda course: look(ledger, course),
        new_server=lambda: ServerProcess(data, ledger.run, feed.rooms, feed.lanes),
    )
    replay.run()
    return Outcome(feed, ledger, replay.course, check(data, ledger, look_at_check))


class Directory:
    """Where the demo works: the user's directory, which stays, or one of our own, which goes unless `keep` is set."""

    def __init__(self, path: Path, *, ours: bool) -> None:
        self.path = path
        self.keep = not ours
        self.ours = ours


@contextmanager
def directory(wanted: Path | None) -> Generator[Directory]:
    """Raises: DirectoryUnfit, for anything but a new or an empty directory."""
    place = (
        Directory(prepared(wanted), ours=False)
        if wanted
        else Directory(Path(tempfile.mkdtemp(prefix="durable-rooms-demo-")), ours=True)
    )
    try:
        yield place
    finally:
        if not place.keep:
            shutil.rmtree(place.path, ignore_errors=True)


def prepared(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DirectoryUnfit(f"{path} is not empty. The demo needs a directory of its own: name one that is new or empty.")
    except FileExistsError:
        raise DirectoryUnfit(f"{path} is a file, not a directory.") from None
    except OSError as error:
        raise DirectoryUnfit(f"{path} cannot be used: {error.strerror}.") from error
    return path
