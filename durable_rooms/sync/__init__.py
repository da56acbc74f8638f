"""Rooms for plain Python: `with durable_rooms.sync.open_runtime("data", [ChatRoom]) as runtime:`, then blocking calls.

    runtime.room(ChatRoom, "general").post("ann", "hello")

From many threads at once. The runtime lives in a thread of its own; calls cross to it in batches (`durable_rooms.border`).
"""

from durable_rooms.sync.opening import open_runtime
from durable_rooms.sync.room import Room
from durable_rooms.sync.runtime import Runtime

__all__ = ["Room", "Runtime", "open_runtime"]
