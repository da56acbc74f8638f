"""The soak's room: posts, edits and deletions; and the people who use many such rooms at random."""

from itertools import count
from random import Random
from typing import Any

import trio

from benchmarks import workload
from benchmarks.chat_room import ChatRoom
from durable_rooms import Runtime

PEOPLE = 32
THINK_SECONDS = 0.05  # mean, between two calls of one of them: about 500 calls a second
FIRST_ROOMS = 200
NEW_ROOM_SHARE = 0.005  # of calls: about 2 a second
KEPT_MESSAGES = 200  # of a room
SHARES = {"post": 0.65, "history": 0.20, "edit": 0.10, "remove": 0.05}


class SoakRoom(ChatRoom):
    def edit(self, id: int, body: str) -> None:
        self.sql("UPDATE messages SET body = ? WHERE id = ?", body, id)

    def remove(self, id: int, before: int) -> None:
        """One message, and every one before another: rooms stop growing, or their page caches would look like a leak."""
        self.sql("DELETE FROM messages WHERE id = ? OR id < ?", id, before)


class People:
    """Use rooms, like Zipf, until cancelled; new rooms come up now and then."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._random = Random(workload.SEED)
        self._newest: dict[str, int] = {}  # by room: the newest message
        self.rooms = FIRST_ROOMS
        self.calls = 0

    async def use(self) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(PEOPLE):
                nursery.start_soon(self._person)

    async def _person(self) -> None:
        random, lines = self._random, workload.posts()
        for _ in count():
            await trio.sleep(random.expovariate(1 / THINK_SECONDS))
            await self._call(self._choose(), lines[random.randrange(len(lines))])
            self.calls += 1

    def _choose(self) -> str:
        """The n-th room is used about 1/n as often as the first; a new one is in the middle of the crowd at once."""
        if self._random.random() < NEW_ROOM_SHARE:
            self.rooms += 1
            return f"room-{self.rooms - 1}"
        return f"room-{int(self.rooms ** self._random.random()) - 1}"

    async def _call(self, id: str, line: workload.Post) -> None:
        room: Any = self._runtime.room(SoakRoom, id)
        newest = self._newest.get(id, 0)
        [what] = self._random.choices(list(SHARES), list(SHARES.values()))
        if what == "history":
            await room.history(50)
        elif what == "post" or not newest:
            self._newest[id] = max(newest, await room.post(line.author, line.body))
        elif what == "edit":
            await room.edit(self._random.randint(1, newest), line.body)
        else:
            await room.remove(self._random.randint(1, newest), newest - KEPT_MESSAGES)
