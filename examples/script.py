"""Rooms in a script, without an event loop: `python examples/script.py [DATA]`. Run it twice."""

import sys
from concurrent.futures import ThreadPoolExecutor

from chat_room import ChatRoom

from durable_rooms import SQLiteReplica
from durable_rooms.sync import open_runtime


def main(data: str = "data") -> None:
    with open_runtime(data, [ChatRoom], replicas=[SQLiteReplica()]) as runtime:
        general = runtime.room(ChatRoom, "general")
        general.post("ann", "hello")
        with ThreadPoolExecutor(8) as pool:  # threads share rooms; each post is durable when its call returns
            list(pool.map(lambda number: general.post("bob", f"message {number}"), range(100)))
        for message in general.history(limit=3):
            print(message["id"], message["author"], message["body"])
        runtime.replicated()
        print(f"{runtime.status().rooms_open} room open; all of it is in {data}/replica.db, too")


if __name__ == "__main__":
    main(*sys.argv[1:])
