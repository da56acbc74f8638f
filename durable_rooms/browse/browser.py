"""The parent's end: a port on the loopback, the process behind it, and its end in every case."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

EXTRA = "durable-rooms[browse]"
LOOPBACK = "127.0.0.1"
STOP_SECONDS_MAX = 5.0  # twice what requests under way get, and some
PACKAGES = Path(__file__).resolve().parents[2]  # where `durable_rooms` was imported from, so that the child imports the same


class DatasetteMissing(Exception):
    """The extra `browse` is not installed."""


class PortTaken(Exception):
    """The port cannot be had."""


class BrowserFailed(Exception):
    """The process ended by itself; the message says how, and what it wrote."""


class Browser:
    """Datasette on one replica, while the `with` block lasts.

    Args:
      replica: its file.
      title: what the pages call it.
      port: on the loopback; 0: any that is free.

    Raises:
      DatasetteMissing: with the command that installs it.
      PortTaken: the port cannot be had.
    """

    def __init__(self, replica: Path, *, title: str, port: int = 0) -> None:
        if find_spec("datasette") is None:
            raise DatasetteMissing(f"It needs Datasette, which is not installed: pip install '{EXTRA}'")
        self._listening = listening(port)
        arguments = [str(self._listening.fileno()), str(replica.absolute()), title]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; a pipe could fill up and block it
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "durable_rooms.browse.server", *arguments],
            stdin=subprocess.PIPE,  # its end tells the child that this process has ended, however
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            pass_fds=[self._listening.fileno()],
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the parent, which then stops the child
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._listening.getsockname()[1]}/"

    @property
    def pid(self) -> int:
        return self._process.pid

    def ready(self) -> None:
        """Wait until it answers.

        Raises:
          BrowserFailed: it ended before.
        """
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self.wait()

    def wait(self) -> None:
        """Wait until it ends, which it does by itself only when something is wrong.

        Raises:
          BrowserFailed: it ended.
        """
        code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode(errors="replace").strip() or "It wrote nothing to stderr."
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        raise BrowserFailed(f"The process of Datasette (pid {self._process.pid}) {how}, which nobody asked it to.\n{said}")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process; returns when it is gone."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:  # a query that nothing interrupts
            self._process.kill()
            self._process.wait()
        for end in (self._process.stdin, self._process.stdout, self._stderr, self._listening):
            if end is not None:
                end.close()


def listening(port: int) -> socket.socket:
    found = socket.socket()
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else a port stays taken for a minute after its process
        found.bind((LOOPBACK, port))
        found.listen()
    except OSError as error:
        found.close()
        raise PortTaken(f"Port {port} of {LOOPBACK} cannot be had: {error.strerror}. Port 0 takes one that is free.") from error
    return found


def environment() -> dict[str, str]:
    """Without plugins of Datasette that happen to be installed: some write, and some open doors to other machines."""
    path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "DATASETTE_LOAD_PLUGINS": ""}
