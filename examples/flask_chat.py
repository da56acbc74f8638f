"""The same chat in plain, threaded Python: Flask. Start it with `python examples/flask_chat.py [DATA] [PORT]`, then

    curl localhost:8000/rooms/general/messages --json '{"author": "ann", "body": "hello"}'
    curl localhost:8000/rooms/general/messages

One process, any number of threads. Under a WSGI server open the runtime where the worker starts, after its fork.
"""

import signal
import sys
from typing import Any

from chat_room import ChatRoom, http_status
from flask import Flask, request

from durable_rooms import RoomsError, SQLiteReplica
from durable_rooms.sync import Runtime, open_runtime

REPLY_SECONDS = 10.0  # after so long a client gets an error that says whether the call had begun


def make_app(runtime: Runtime) -> Flask:
    app = Flask(__name__)

    @app.post("/rooms/<room_id>/messages")
    def post(room_id: str) -> tuple[dict[str, Any], int]:
        message = request.get_json()
        room = runtime.room(ChatRoom, room_id).options(timeout=REPLY_SECONDS)
        return {"id": room.post(str(message["author"]), str(message["body"]))}, 201  # it has survived a power cut

    @app.get("/rooms/<room_id>/messages")
    def history(room_id: str) -> list[dict[str, Any]]:
        limit = min(request.args.get("limit", 50, int), 500)
        return runtime.room(ChatRoom, room_id).options(timeout=REPLY_SECONDS).history(limit)

    @app.errorhandler(RoomsError)
    def trouble(error: RoomsError) -> tuple[dict[str, str], int]:
        return {"error": str(error), "ran": error.ran}, http_status(error)

    return app


def main(data: str = "data", port: str = "8000") -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # leaves the body below: it drains, as with Ctrl-C
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        make_app(runtime).run(port=int(port), threaded=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
