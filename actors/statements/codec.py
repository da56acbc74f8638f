"""By value: what crosses between a caller and a room crosses as msgpack, so that neither can reach into the other's memory.

Packing and unpacking happen at once, on the side that made the value: a value that cannot cross is refused before anything
runs (arguments), or rolls its call back (results).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgpack

from actors.statements.sql import Rows

DEPTH_HINT = "values may nest some hundreds deep"


def _default(value: object) -> object:
    if isinstance(value, Rows):
        return value.dicts()
    if isinstance(value, datetime):  # msgpack packs aware datetimes by itself, so this one has no time zone
        raise TypeError(f"the datetime {value!r} has no time zone; use datetime.now(UTC) or a Unix time")
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set has no order; pass sorted(…) or a list")
    if isinstance(value, int):
        raise OverflowError
    raise TypeError(f"a {type(value).__name__} cannot be carried by msgpack: {_shown(value)}")


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except Exception:  # whatever a class of the user's does there
        return object.__repr__(value)


_msgpack: Any = msgpack  # its stubs leave types open
_packer: Any = _msgpack.Packer(datetime=True)  # never calls back into Python, so that threads may share it
_pack: Callable[[Any], bytes] = _packer.pack
_unpack: Callable[..., Any] = _msgpack.unpackb


def by_value(value: Any) -> tuple[Any, int]:
    """The value as it arrives on the other side, and its size in bytes of msgpack. A tuple arrives as a list.

    Raises:
      ValueError: it cannot cross; the message says what is wrong with it.
    """
    value, packed = by_value_and_bytes(value)
    return value, len(packed)


def by_value_and_bytes(value: Any) -> tuple[Any, bytes]:
    """As `by_value`, with the msgpack itself: to be kept, and read again by `unpacked`."""
    if type(value) is Rows:
        value = value.dicts()
    try:
        try:
            packed = _pack(value)
        except (TypeError, ValueError, OverflowError):
            _packer.reset()
            packed = _msgpack.packb(value, default=_default, datetime=True)  # rows inside of it, or the reason why not
        return unpacked(packed), packed
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(_what_is_wrong(error)) from error


def packed(value: Any) -> bytes:
    """The msgpack of a value that has crossed, or is about to be refused by `by_value`. Raises ValueError."""
    try:
        return _pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        _packer.reset()
        raise ValueError(_what_is_wrong(error)) from error


def unpacked(content: bytes) -> Any:
    """What `by_value_and_bytes` has packed."""
    return _unpack(content, timestamp=3, strict_map_key=False, ext_hook=no_extension)


def no_extension(code: int, _content: bytes) -> Any:
    """Times are the one extension of msgpack that crosses. Raises ValueError."""
    raise ValueError(f"an extension type of msgpack ({code}) is none of the values that cross")


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "an integer is beyond 64 bits; pass it as text"
    if isinstance(error, UnicodeEncodeError):
        return "text with a lone surrogate is not text"
    if isinstance(error, RecursionError) or "recursion" in str(error):  # msgpack's own limit is a ValueError
        return f"it refers to itself or nests too deep ({DEPTH_HINT})"
    return str(error) or type(error).__name__
