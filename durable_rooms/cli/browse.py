"""`durable-rooms browse`: the replica in a web browser, until Ctrl-C."""

import sys
import webbrowser
from pathlib import Path

from durable_rooms.browse import Browser, BrowserFailed, DatasetteMissing, PortTaken
from durable_rooms.inspect.place import require
from durable_rooms.inspect.status import replica_path
from durable_rooms.verify import NotADataDirectory
from durable_rooms.verify.files import Unreadable, held_still, reading
from durable_rooms.verify.words import shown
from replication.file import APPLICATION_ID

ENDED, WRONG = 1, 2


class NoReplica(Exception):
    """There is none to look at."""


def browse_command(data: Path, replica: Path | None, port: int, *, open_browser: bool) -> int:
    """Returns the exit code; or never, if nothing goes wrong, until Ctrl-C."""
    try:
        require(data)
        path = replica or replica_path(data)
        examined(data, path)
        with Browser(path, title=f"Rooms of {shown(str(data.absolute()))}", port=port) as browser:
            browser.ready()
            print(f"{browser.url}  shows {shown(str(path))}, read-only, to this machine. Ctrl-C ends it.", flush=True)
            if open_browser:
                webbrowser.open(browser.url)
            browser.wait()
    except (NotADataDirectory, NoReplica, DatasetteMissing, PortTaken) as error:
        print(f"durable-rooms browse: {error}", file=sys.stderr)
        return WRONG
    except BrowserFailed as error:
        print(f"durable-rooms browse: {error}", file=sys.stderr)
        return ENDED
    raise AssertionError("a browser that has ended says so by an error")


def examined(data: Path, path: Path) -> None:
    """Raises NoReplica with what to do."""
    if not path.is_file():
        raise NoReplica(
            f"{shown(str(path))} is not there: no replica was made of {shown(str(data))}. Open its runtime once with "
            "replicas=[SQLiteReplica()], which makes it from the rooms; if it is elsewhere, name it: --replica FILE."
        )

    def stamp() -> object:
        with reading(path) as connection:
            return connection.execute("PRAGMA application_id").fetchone()[0]

    try:
        found = held_still(stamp)
    except Unreadable as error:
        raise NoReplica(f"The replica cannot be read: {error}. `durable-rooms status {shown(str(data))}` may say why.") from error
    if found != APPLICATION_ID:
        raise NoReplica(f"{shown(str(path))} is not a replica of durable-rooms, but a database of another program.")
