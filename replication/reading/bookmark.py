"""A bookmark: what one reader has seen, so that nothing it saw disappears again, over all rooms and replicas that it touches.

It holds positions of rooms, and a floor: the batch of a replica up to which everything it saw there goes. A room that was seen
on that replica is covered by the floor and may be forgotten; so the token stays short: 60 bytes, and 13 for each room that is
kept. Rooms stand in it by a hash of their names.

A floor says nothing of other replicas: each counts its batches for itself, and one that was made later may lag behind one that
was made earlier. What was forgotten before the floor moved to another one is `adrift`: only a replica that has everything of the
room may show it.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import msgpack

from actors import BadBookmark, Position, RoomName

FORMAT = 1
KEY_BYTES = 32
SIGNATURE_BYTES = 16  # 128 bits: not to be guessed
ROOM_BYTES = 8  # of a room's hash: two of the 64 rooms of a token collide once in 10^16, and then a read waits for the newer one
ROOMS_MAX = 64  # rooms kept; a token stays under 1.3 kB, and a cookie may have 4 (those that no replica has yet come on top)
TOKEN_BYTES_MAX = 65_536  # of one that is given back: 3,600 rooms that no replica has yet; whoever sends more did not get it here

_msgpack: Any = msgpack


def key_of(name: RoomName) -> bytes:
    return blake2b(f"{name.actor}/{name.id}".encode(), digest_size=ROOM_BYTES).digest()


class Seen(NamedTuple):
    """Of one room. `covered`: the replica that the floor is of has it."""

    position: Position
    covered: bool


@dataclass(slots=True)
class Bookmark:
    rooms: OrderedDict[bytes, Seen] = field(default_factory=OrderedDict[bytes, Seen])  # the longest untouched first
    generation: str = ""  # of the replica that the floor is of, with its name; "": none was read yet
    batch: int = 0  # the floor
    forgotten: bool = False  # rooms that only the floor covers
    across: bool = False  # many rooms were seen at once: the floor counts for the rooms that are kept, too
    adrift: bool = False  # some of what was forgotten or seen across is of another replica than the floor

    def needs(self, name: RoomName) -> Position | None:
        """Where a room must stand at least."""
        seen = self.rooms.get(key_of(name))
        return seen.position if seen else None

    def vague(self, name: RoomName) -> bool:
        """Whether more may have been seen of a room than `needs` tells."""
        return self.across or (self.forgotten and key_of(name) not in self.rooms)

    def trusts(self, name: RoomName, generation: str, batch: int, *, whole: bool) -> bool:
        """Whether rows of a replica, where the room stands at `needs` or later, show all that was seen of it.

        `whole`: it has every room as new as when its file was opened; a power cut may have rewound it.
        """
        if not self.vague(name):
            return True
        return whole and not self.adrift and generation == self.generation and batch >= self.batch

    def saw_room(self, name: RoomName, position: Position) -> None:
        """The room itself, or a command of it."""
        self._put(key_of(name), position, covered=False)

    def saw_replica(self, name: RoomName, position: Position, generation: str, batch: int) -> None:
        self.saw_batch(generation, batch)
        self._put(key_of(name), position, covered=True)

    def saw_across(self, generation: str, batch: int) -> None:
        """Rows of any rooms of a replica that had everything."""
        self.saw_batch(generation, batch)
        self.across = True

    def saw_batch(self, generation: str, batch: int) -> None:
        """Rows of a replica: the floor is of that one now."""
        if generation != self.generation:
            self.adrift = self.adrift or self.forgotten or self.across  # first: see `token`
            for room, seen in self.rooms.items():
                self.rooms[room] = Seen(seen.position, covered=False)
            self.generation, self.batch = generation, batch
        self.batch = max(self.batch, batch)

    def _put(self, key: bytes, position: Position, *, covered: bool) -> None:
        before = self.rooms.get(key)
        if before is None or before.position <= position:
            self.rooms[key] = Seen(position, covered)
        self.rooms.move_to_end(key)  # never out and in again: another thread may make a token in between
        if len(self.rooms) > ROOMS_MAX:
            self._forget_one()

    def _forget_one(self) -> None:
        """The longest untouched room that the floor covers. Without one, the token grows."""
        for key, seen in self.rooms.items():
            if seen.covered:
                self.forgotten = True  # first: see `token`
                del self.rooms[key]
                return

    def token(self, key: bytes) -> str:
        """Signed, for a cookie or a header. From any thread: rooms are copied in one step of the interpreter; what covers them
        is read afterwards, so it may be more than they need and never less."""
        while True:
            generation = self.generation
            rooms = list(self.rooms.items())
            batch, forgotten, across, adrift = self.batch, self.forgotten, self.across, self.adrift
            if generation == self.generation:
                break
        kept = [(room, *seen.position, seen.covered) for room, seen in rooms]
        body: bytes = _msgpack.packb([FORMAT, generation, batch, forgotten, across, kept, adrift])
        return urlsafe_b64encode(_signature(key, body) + body).rstrip(b"=").decode()


def parsed(token: str, key: bytes) -> Bookmark:
    """The bookmark of a token that was signed with this key. Raises BadBookmark."""
    if len(token) > TOKEN_BYTES_MAX:
        raise BadBookmark(
            f"a bookmark has at most {TOKEN_BYTES_MAX:,} characters, and this text has {len(token):,}. Nothing ran."
        )
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except (NotBase64, UnicodeEncodeError) as error:
        raise BadBookmark("this text is no bookmark of this data directory. Nothing ran; begin a session without it.") from error
    signature, body = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(key, body)):
        raise BadBookmark("this bookmark was not made for this data directory. Nothing ran; begin a session without it.")
    format, *fields = _msgpack.unpackb(body)
    if format != FORMAT:
        raise BadBookmark(f"this bookmark has format {format}, this version knows {FORMAT}. Begin a session without it.")
    generation, batch, forgotten, across, rooms, *late = fields
    (adrift,) = late or [False]  # tokens of earlier versions have not said so
    kept = OrderedDict((room, Seen(Position(epoch, seq), covered)) for room, epoch, seq, covered in rooms)
    return Bookmark(kept, generation, batch, forgotten, across, adrift)


def _signature(key: bytes, body: bytes) -> bytes:
    return blake2b(body, key=key, digest_size=SIGNATURE_BYTES).digest()
