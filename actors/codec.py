"""By value: what crosses between a caller and a room crosses as msgpack, so that neither can reach into the other's memory.

Packing and unpacking happen at once, on the side that made the value: a value that cannot cross is refused before anything
runs (arguments), or rolls its call back (results).
"""

from datetime import datetime
from typing import Any

import msgpack

from actors.sql import Rows

DEPTH_HINT = "values may nest about 500 deep"


def _default(value: object) -> object:
    if isinstance(value, Rows):
        return value.dicts()
    if isinstance(value, datetime):  # msgpack packs aware datetimes by itself, so this one has no time zone
        raise TypeError(f"the datetime {value!r} has no time zone; use datetime.now(UTC) or a Unix time")
    if isinstance(value, (set, frozenset)):
        raise TypeError("a set has no order; pass sorted(…) or a list")
    raise TypeError(f"a {type(value).__name__} cannot be carried by msgpack: {value!r:.80}")


_packer = msgpack.Packer(default=_default, datetime=True)


def by_value(value: Any) -> tuple[Any, int]:
    """The value as it arrives on the other side, and its size in bytes of msgpack. A tuple arrives as a list.

    Raises:
      ValueError: it cannot cross; the message says what is wrong with it.
    """
    if isinstance(value, Rows):
        value = value.dicts()
    try:
        packed: bytes = _packer.pack(value)
        return msgpack.unpackb(packed, timestamp=3, strict_map_key=False), len(packed)
    except OverflowError as error:
        raise ValueError("an integer is beyond 64 bits; pass it as text") from error
    except UnicodeEncodeError as error:
        raise ValueError("text with a lone surrogate is not text") from error
    except RecursionError as error:
        raise ValueError(f"it refers to itself or nests too deep ({DEPTH_HINT})") from error
    except (TypeError, ValueError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    finally:
        _packer.reset()
