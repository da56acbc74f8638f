"""`python -m benchmarks.http_app DATA`: FastAPI on uvicorn, for `doors`: durable posts to one hot room, and an empty handler.

Tells its port on the first line; ends in order when it is told to (SIGTERM).
"""

import json
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from benchmarks.chat_room import ChatRoom
from benchmarks.process import say
from durable_rooms import SQLiteReplica
from durable_rooms.asyncio import open_runtime

NEEDED = ("fastapi", "uvicorn")


def available() -> bool:
    return all(find_spec(name) is not None for name in NEEDED)


def port_in(said: str) -> int:
    """Raises RuntimeError if the child ended before it served."""
    if not said:
        raise RuntimeError("the HTTP server ended before it served anybody; it says why above")
    return json.loads(said)["port"]


def app(data: str, port: int) -> Any:
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Message(BaseModel):
        author: str
        body: str

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
            app.state.room = runtime.room(ChatRoom, "room-0")
            say(port=port)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/messages")
    async def post(message: Message) -> dict[str, int]:
        return {"id": await app.state.room.post(message.author, message.body)}

    @app.post("/empty")
    async def empty(message: Message) -> dict[str, int]:
        return {"id": len(message.author)}

    return app


def main(data: str) -> None:
    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    port = listener.getsockname()[1]
    uvicorn.Server(uvicorn.Config(app(data, port), log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main(*sys.argv[1:])
