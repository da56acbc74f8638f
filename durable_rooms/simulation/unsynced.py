"""The disk that an image is opened on to look at it: a real one, without syncs."""

from pathlib import Path

import apsw

from actors import Disk


class UnsyncedDisk(Disk):
    """For looking: nothing is cut any more. `folders` is those in which a look may have left files, `made` those that it made."""

    def __init__(self) -> None:
        self.folders: set[str] = set()
        self.made: set[str] = set()

    def connect(self, path: Path, *, create: bool = False, read_only: bool = False) -> apsw.Connection:
        self.folders.add(str(path.parent))
        return super().connect(path, create=create, read_only=read_only)

    def open(self, path: Path, *, create: bool = False) -> int:
        self.folders.add(str(path.parent))
        return super().open(path, create=create)

    def rename(self, old: Path, new: Path) -> None:
        self.folders.add(str(new.parent))
        super().rename(old, new)

    def write_synced(self, path: Path, content: bytes, *, private: bool = False) -> None:
        self.folders.add(str(path.parent))
        super().write_synced(path, content, private=private)

    def make_directory(self, path: Path) -> bool:
        made = super().make_directory(path)
        if made:
            self.made.add(str(path))
        return made

    def mount(self, path: Path) -> None:
        return None

    def sync_data(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass

    def sync_file_system(self, fd: int) -> None:
        pass
