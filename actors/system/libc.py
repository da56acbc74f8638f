"""The C library, for the calls that Python does not have, or makes while it holds its lock."""

import ctypes

libc = ctypes.CDLL(None, use_errno=True)
