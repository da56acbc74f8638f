"""Faults of a disk: which operation fails, how, and how often it was reached."""

import errno
from dataclasses import dataclass
from fnmatch import fnmatch

KINDS = ("sync", "directory sync", "file system sync", "write", "truncate", "open", "rename", "unlink", "copy", "read", "any")


@dataclass
class Fault:
    """Operations of `kind` on paths that match fail with `code`: the `first`-th to come (from 1), and `times` in all.

    Attributes:
      kind: one of KINDS; "any" is every operation that changes the disk.
      by: "ours" or "sqlite"; None for both.
      short: a write arrives half, then fails.
      evict: after a failed sync the file's pages leave the page cache, so that reads find what the disk has.
      lost: after a failed file system sync some files have lost their writes, and say so when they are asked.
      name: what a report calls it.
    """

    kind: str
    pattern: str = "*"
    code: int = errno.EIO
    by: str | None = None
    first: int = 1
    times: float = 1
    short: bool = False
    evict: bool = False
    lost: bool = True
    name: str = ""
    seen: int = 0
    struck: int = 0

    def strikes(self, kind: str, path: str, by: str) -> bool:
        if kind != self.kind and (self.kind != "any" or kind == "read"):
            return False
        if (self.by is not None and by != self.by) or not fnmatch(path, self.pattern):
            return False
        self.seen += 1
        struck = self.first <= self.seen < self.first + self.times
        self.struck += struck
        return struck

    def __str__(self) -> str:
        how = f"{errno.errorcode[self.code]}{' after half of it' if self.short else ''}{' and eviction' if self.evict else ''}"
        who = {None: "", "ours": " of ours", "sqlite": " of SQLite's"}[self.by]
        count = "" if self.times == 1 else " and every later one" if self.times == float("inf") else f", {self.times:g} times"
        return f"{self.kind} number {self.first}{who} on {self.pattern}: {how}{count}"
