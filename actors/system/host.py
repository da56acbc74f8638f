"""The host: which kind of code calls us. Rooms live in trio; code of another kind comes in through a door of its own."""

import sys
from typing import Literal

import trio

from actors.errors import WrongDoor

Host = Literal["trio", "asyncio", "plain"]

DOORS: dict[Host, str] = {
    "trio": "durable_rooms.open_runtime (async with, in trio)",
    "asyncio": "durable_rooms.asyncio.open_runtime (async with, in asyncio)",
    "plain": "durable_rooms.sync.open_runtime (with, in plain code and threads)",
}


def host() -> Host:
    """What runs in this thread at this moment. (Where trio is a guest of asyncio, both have their moments.)"""
    if trio.lowlevel.in_trio_task():
        return "trio"
    asyncio = sys.modules.get("asyncio")  # nobody is inside of it before somebody has imported it
    if asyncio is not None and asyncio._get_running_loop() is not None:
        return "asyncio"
    return "plain"


def wrong_door(what: str, made_for: Host) -> WrongDoor:
    """The error for code that calls through a door that was made for another kind of code. `what`: "ChatRoom/general", …"""
    here = host()
    if here == made_for:
        return WrongDoor(f"{what}: called from another {made_for} loop than the one that opened it. Nothing ran.")
    where = {"trio": "from trio", "asyncio": "from asyncio", "plain": "from plain code, without an event loop"}[here]
    return WrongDoor(
        f"{what} belongs to {DOORS[made_for].partition(' ')[0]} and was called {where}. Nothing ran. Open the directory with "
        f"{DOORS[here]} instead."
    )
