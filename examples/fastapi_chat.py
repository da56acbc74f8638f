"""A chat over HTTP: FastAPI on uvicorn. Start it with `python examples/fastapi_chat.py [DATA] [PORT]`, then

    curl localhost:8000/rooms/general/messages --json '{"author": "ann", "body": "hello"}'
    curl localhost:8000/rooms/general/messages

One worker process: it owns the directory. Ctrl-C and SIGTERM drain.
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from chat_room import ChatRoom, http_status
from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from durable_rooms import RoomsError, SQLiteReplica
from durable_rooms.asyncio import Room, open_runtime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with open_runtime(app.state.data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        app.state.runtime = runtime
        yield


async def room(room_id: str, request: Request) -> Room[ChatRoom]:  # async: a plain def would cost FastAPI a thread hop
    return request.app.state.runtime.room(ChatRoom, room_id)


class Message(BaseModel):
    author: str = Field(min_length=1, max_length=100)
    body: str = Field(min_length=1, max_length=10_000)


app = FastAPI(lifespan=lifespan)
app.state.data = "data"
InRoom = Annotated[Room[ChatRoom], Depends(room)]


@app.post("/rooms/{room_id}/messages", status_code=201)
async def post(message: Message, room: InRoom) -> dict[str, int]:
    return {"id": await room.call(ChatRoom.post, message.author, message.body)}  # 201: it has survived a power cut


@app.get("/rooms/{room_id}/messages")
async def history(room: InRoom, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[dict[str, Any]]:
    return await room.history(limit)


@app.exception_handler(RoomsError)
async def trouble(request: Request, error: RoomsError) -> JSONResponse:
    """Nobody has to guess whether it ran."""
    return JSONResponse({"error": str(error), "ran": error.ran}, status_code=http_status(error))


def main(data: str = "data", port: str = "8000") -> None:
    app.state.data = data
    uvicorn.run(app, port=int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
