"""Messages between the ledger and the server: msgpack values, one after another on a socket.

to the server    ["posts", [[number, room, kind, author, body], …]]   post these, all at the same time
                 ["replicated", seconds]                              say when everything is in the replica
                 ["stop"]                                             stop cleanly (the end of the stream means the same)
from the server  ["ready"]                                            posts are taken
                 ["done", [number, …]]                                these have returned: they are durable
                 ["failed", number, ran, text]                        this one raised
                 ["replicated", error, figures]                       error is "" if all is in the replica
                 ["figures", figures]                                 a few times a second

`figures` is a dict: rooms (open now), lag_p50, lag_p99, lag (seconds), error (the replicator's last one).
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]

MESSAGE_BYTES_MAX = 256 * 1024 * 1024
READ_BYTES = 256 * 1024

Message = list[Any]
pack = cast(Callable[[Any], bytes], msgpack.packb)  # pyright: ignore[reportUnknownMemberType]


class Decoder(Protocol):
    """Bytes in as they come, whole messages out; a message that was cut off by a kill never comes out."""

    def feed(self, data: bytes, /) -> None: ...
    def __iter__(self) -> Iterator[Message]: ...


def decoder() -> Decoder:
    return cast(Decoder, msgpack.Unpacker(max_buffer_size=MESSAGE_BYTES_MAX))  # pyright: ignore[reportUnknownMemberType]


def uid(run: str, number: int) -> str:
    """The id of a post, in its row."""
    return f"{run}-{number}"


def number_of(run: str, text: str) -> int | None:
    """The number of a post of this run, None for an id that is not of it."""
    prefix, _, digits = text.rpartition("-")
    return int(digits) if prefix == run and digits.isascii() and digits.isdigit() else None
