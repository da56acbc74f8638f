"""The pages of a damaged database: its file with the WAL laid over it, read as bytes and believed in nothing.

SQLite is not asked: it stops at the first page that is not as it should be, it would replay or delete a WAL, and what it reads
from a damaged file it may write back.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

MAGIC = b"SQLite format 3\0"
PAGE_BYTES = 4096  # of every room, unless somebody has changed it by hand
WAL_HEADER, FRAME_HEADER = 32, 24
WAL_MAGIC = (0x377F0682, 0x377F0683)  # the last bit: checksums are of big-endian words


@dataclass(slots=True)
class Image:
    """All pages, by number from 1; `notes` says what was wrong with file and WAL as a whole."""

    page_bytes: int
    content: bytes
    newer: dict[int, bytes] = field(default_factory=dict[int, bytes])  # from the WAL
    notes: list[str] = field(default_factory=list[str])

    @property
    def count(self) -> int:
        return max([-(-len(self.content) // self.page_bytes), *self.newer])

    def page(self, number: int) -> bytes | None:
        """A page, None if it is not there; one that the file's end cuts is filled up with zeros."""
        if number in self.newer:
            return self.newer[number]
        at = (number - 1) * self.page_bytes
        if number < 1 or at >= len(self.content):
            return None
        return self.content[at : at + self.page_bytes].ljust(self.page_bytes, b"\0")


def read_image(path: Path, wal: Path) -> Image:
    """Read a database that nobody has open. Raises OSError."""
    content = path.read_bytes() if path.exists() else b""
    log = wal.read_bytes() if wal.exists() else b""
    image = Image(page_bytes_of(content, log), content)
    if not content.startswith(MAGIC):
        image.notes.append("the file is empty" if not content else "the file does not begin as a database does")
    elif len(content) % image.page_bytes:
        image.notes.append("the file ends in the middle of a page")
    if log:
        lay_over(image, log)
    return image


def page_bytes_of(content: bytes, log: bytes) -> int:
    """As the file's header says, else the WAL's, else the usual."""
    said: list[int] = []
    if content.startswith(MAGIC) and len(content) >= 18:
        (size,) = struct.unpack_from(">H", content, 16)
        said.append(65536 if size == 1 else size)
    if len(log) >= WAL_HEADER and struct.unpack_from(">I", log)[0] in WAL_MAGIC:
        said.append(struct.unpack_from(">I", log, 8)[0])
    return next((size for size in said if size in (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)), PAGE_BYTES)


def lay_over(image: Image, log: bytes) -> None:
    """Add the frames of the WAL up to its last commit.

    Each frame's checksum goes on from the one before, so a damaged frame is told from the sound ones behind it, which SQLite
    would not use any more. Its own page is taken as it is: one wrong byte costs a row, an older page would cost many.
    """
    if len(log) < WAL_HEADER:
        image.notes.append("the WAL is shorter than its header")
        return
    magic, _, page_bytes = struct.unpack_from(">III", log)
    salts = log[16:24]
    if magic not in WAL_MAGIC or page_bytes != image.page_bytes:
        image.notes.append("the header of the WAL is damaged; nothing was taken from it")
        return
    order = ">" if magic & 1 else "<"
    step = FRAME_HEADER + page_bytes
    last: tuple[int, int] = struct.unpack_from(">II", log, 24)
    frames: list[tuple[int, int, int, bool]] = []  # page, its place, pages of the database after a commit, sound
    foreign = 0
    for at in range(WAL_HEADER, len(log) - step + 1, step):
        number, size = struct.unpack_from(">II", log, at)
        told: tuple[int, int] = struct.unpack_from(">II", log, at + 16)
        sound = log[at + 8 : at + 16] == salts
        foreign = 0 if sound else foreign + 1
        if foreign > 1:
            break  # of an older generation
        sound = sound and checksum(log[at + FRAME_HEADER : at + step], checksum(log[at : at + 8], last, order), order) == told
        frames.append((number, at + FRAME_HEADER, size, sound))
        last = told
    end = max((place for place, (_, _, size, sound) in enumerate(frames, 1) if size and sound), default=0)
    size_now = 0
    for number, at, size, sound in frames[:end]:
        if not sound:
            image.notes.append(f"a frame of the WAL is damaged (page {number:,})")
        if 1 <= number <= end + len(image.content) // page_bytes + 1:
            image.newer[number] = log[at : at + page_bytes]
        size_now = size or size_now
    for number in [number for number in image.newer if number > size_now]:
        del image.newer[number]


def checksum(content: bytes, start: tuple[int, int], order: str) -> tuple[int, int]:
    """The WAL's running checksum over words of 32 bits."""
    one, two = start
    words = iter(struct.unpack(f"{order}{len(content) // 4}I", content))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
