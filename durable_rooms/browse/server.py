"""The process that is Datasette. It inherits its socket, says `serving` when it answers, and ends when its stdin does.

    python -m durable_rooms.browse.server SOCKET_FD REPLICA TITLE

Only questions from this machine are answered: the socket is bound to the loopback, and a request must call it by its name, or
any web page could read the replica by letting a name of its own point there (DNS rebinding).
"""

import os
import signal
import socket
import sqlite3
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from threading import Thread
from typing import Any, cast

import uvicorn
from datasette import hookimpl
from datasette.app import Datasette
from datasette.plugins import pm
from markupsafe import Markup

from durable_rooms.browse.database import ReplicaDatabase
from durable_rooms.browse.views import Contents, as_time, contents
from durable_rooms.browse.words import DATABASE, metadata
from durable_rooms.verify.files import FileMoved, Unreadable

QUERY_MS_MAX = (
    3_000  # and so long a query keeps the WAL from shrinking; sorting or counting by day a million rows takes half of it
)
FACET_MS_MAX = 500  # 8 million rows by room
ROWS_MAX = 1_000  # a page, or what a query returns: what a person looks at
LEAVE_SECONDS_MAX = 2  # for requests under way at the end

SETTINGS: dict[str, Any] = {
    "sql_time_limit_ms": QUERY_MS_MAX,
    "facet_time_limit_ms": FACET_MS_MAX,
    "max_returned_rows": ROWS_MAX,
    "allow_download": False,  # the file without its WAL is an old state; `.backup` makes a copy
    "allow_csv_stream": False,  # pages of a view are cut by OFFSET: rows that come meanwhile would be there twice
    "suggest_facets": False,  # tries each column at each page, 50 ms each
    "default_cache_ttl": 0,  # a page is of the moment it was asked for
}

NAMES = {"127.0.0.1", "localhost"}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Words:
    """Datasette's plugin: the metadata of the moment, so that classes and tables that are new are described, too."""

    __name__ = __name__  # Datasette takes every plugin for a module and asks it for its name

    def __init__(self, title: str) -> None:
        self._title = title
        self._now = metadata(title, Contents((), ()))

    def update(self, found: Contents) -> None:
        self._now = metadata(self._title, found)

    @hookimpl
    def get_metadata(self) -> dict[str, Any]:
        return self._now

    @hookimpl
    def render_cell(self, value: Any, column: str) -> Markup | None:
        """A number of seconds is shown as a time to people; JSON and CSV keep the number."""
        shown = as_time(column, value)
        return None if shown is None else Markup('<span title="{}">{}</span>').format(value, shown)


class Door:
    """In front of Datasette: who may ask, and a look at what the replica has now."""

    def __init__(self, app: App, replica: ReplicaDatabase, words: Words) -> None:
        self._app = app
        self._replica = replica
        self._words = words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers: dict[bytes, bytes] = dict(scope["headers"])
            host = headers.get(b"host", b"").decode("latin-1")
            if host.rpartition(":")[0] not in NAMES and host not in NAMES:
                await answer(send, 403, f"This is the loopback of one machine. It is not called {host!r}.")
                return
            try:
                self._words.update(await self._replica.execute_fn(contents))
            except (Unreadable, FileMoved, sqlite3.Error) as error:
                await answer(send, 503, f"The replica cannot be read just now: {error}. Its runtime makes it again: reload.")
                return
        await self._app(scope, receive, send)


async def answer(send: Send, status: int, words: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "http.response.body", "body": f"{words}\n".encode()})


class Server(uvicorn.Server):
    """Tells its parent when it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("serving", flush=True)
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Datasette prints each error there; a pipe that nobody reads fills up


def application(replica: Path, title: str) -> App:
    datasette = Datasette([], settings=SETTINGS)
    database = ReplicaDatabase(datasette, replica)
    datasette.remove_database("_memory")  # an empty one, of Datasette's own
    datasette.add_database(database, name=DATABASE)
    words = Words(title)
    pm.register(words, name="durable-rooms")
    return Door(cast(App, datasette.app()), database, words)


def end_with_parent() -> None:
    """A killed parent cannot say that it is time to go; its end of the pipe does."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def main(fd: int, replica: Path, title: str) -> None:
    listening = socket.socket(fileno=fd)
    config = uvicorn.Config(
        application(replica, title),
        lifespan="on",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=LEAVE_SECONDS_MAX,
    )
    Thread(target=end_with_parent, daemon=True).start()
    Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
