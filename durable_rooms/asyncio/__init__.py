"""Rooms for asyncio: `async with durable_rooms.asyncio.open_runtime("data", [ChatRoom]) as runtime:`, then as in trio.

    await runtime.room(ChatRoom, "general").post("ann", "hello")

The runtime lives in a thread of its own; calls cross to it in batches (`durable_rooms.border`).
"""

from durable_rooms.asyncio.opening import open_runtime
from durable_rooms.asyncio.room import Room
from durable_rooms.asyncio.runtime import Runtime

__all__ = ["Room", "Runtime", "open_runtime"]
