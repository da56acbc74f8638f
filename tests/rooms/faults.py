"""A disk that fails on demand, and an error that fails to say why."""

import errno

from actors import Disk


class FailsOnce(Disk):
    """The real disk, but for one sync."""

    has_syncfs = False

    def __init__(self) -> None:
        self._fail = False

    def fail_next(self) -> None:
        self._fail = True

    def sync_data(self, fd: int) -> None:
        if self._fail:
            self._fail = False
            raise OSError(errno.EIO, "Input/output error")
        super().sync_data(fd)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")
