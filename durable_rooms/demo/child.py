"""The parent's end of a server process: start it, talk to it, kill it."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from durable_rooms.demo.wire import READ_BYTES, Message, decoder, pack

STOP_SECONDS_MAX = 30.0
PACKAGES = Path(__file__).resolve().parents[2]  # where `durable_rooms` was imported from, so that the child imports the same


class ServerDied(Exception):
    """The server process ended by itself; the message says how, and what it wrote to stderr."""


class ServerProcess:
    """One server process. Its replies are read by `receive` only; nothing here runs in the background."""

    def __init__(self, data: Path, run: str, rooms: int, users: int) -> None:
        self._socket, theirs = socket.socketpair()
        self._outgoing = bytearray()
        self._incoming = decoder()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process; a pipe could fill up and block it
        arguments = [str(data), str(theirs.fileno()), run, str(rooms), str(users)]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "durable_rooms.demo.server", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=[theirs.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))},
            start_new_session=True,  # Ctrl-C is for the parent, which then stops the child
        )
        theirs.close()
        self._socket.setblocking(False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Message) -> None:
        """Queue a message; it leaves now, or during `receive`."""
        self._outgoing += pack(message)
        self._flush()

    def receive(self, seconds: float) -> Sequence[Message]:
        """The messages that are there, or that come within so many seconds; none at the end of the time.

        Raises:
          ServerDied: the process has ended.
        """
        readable, writable, _ = select.select([self._socket], [self._socket] if self._outgoing else [], [], seconds)
        if writable:
            self._flush()
        if readable:
            if not self._read():
                raise ServerDied(self._obituary())
            return list(self._incoming)
        return []

    def kill(self) -> Sequence[Message]:
        """SIGKILL. Returns the replies that had left the process before it died: they had been given."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._socket.setblocking(True)
        while self._read():
            pass
        self._close()
        return list(self._incoming)

    def stop(self) -> None:
        """Ask it to stop, and wait for it.

        Raises:
          ServerDied: it did not stop cleanly.
        """
        self.send(["stop"])
        try:
            code = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise ServerDied(f"The server process did not stop within {STOP_SECONDS_MAX:g} s.\n{self._said()}") from None
        if code:
            raise ServerDied(self._obituary())
        self._close()

    def abandon(self) -> None:
        """Leave nothing behind, whatever state it is in; also after `kill` and `stop`."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._close()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._outgoing)
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            return  # the end of the process; `receive` says so
        del self._outgoing[:sent]

    def _read(self) -> bool:
        """False at the end of the stream."""
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionResetError:
            return False
        self._incoming.feed(data)
        return bool(data)

    def _close(self) -> None:
        self._socket.close()
        self._stderr.close()

    def _obituary(self) -> str:
        try:
            code = self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"The server process closed its connection and goes on running.\n{self._said()}"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The server process {how}, which nobody asked it to.\n{self._said()}"

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace").strip() or "It wrote nothing to stderr."
