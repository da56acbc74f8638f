"""The shipped scenario: a chat with a counter, drafts that are not replicated, slow handlers, and a second release.

A post writes two rows of two tables, so that half a post would show; nothing hinders a post from being there twice.
"""

import trio

from actors import Actor, read
from durable_rooms.simulation.client import Client, SimulatedSession
from durable_rooms.simulation.scenario import After, Scenario


class Chat(Actor):
    """One room of it."""

    migrations = (
        "CREATE TABLE messages (n INTEGER PRIMARY KEY, id TEXT NOT NULL, body TEXT NOT NULL);"
        "CREATE TABLE tally (one INTEGER PRIMARY KEY, posts INTEGER NOT NULL);"
        "INSERT INTO tally VALUES (1, 0)",
    )
    local_tables = frozenset({"drafts"})

    def post(self, id: str, body: str = "") -> int:
        self.sql("INSERT INTO messages (id, body) VALUES (?, ?)", id, body)
        self.sql("UPDATE tally SET posts = posts + 1")
        return self.sql("SELECT posts FROM tally").scalar()

    def remove(self) -> str | None:
        """The oldest post."""
        gone = self.sql("DELETE FROM messages WHERE n = (SELECT min(n) FROM messages) RETURNING id").scalars()
        self.sql("UPDATE tally SET posts = posts - ?", len(gone))
        return gone[0] if gone else None

    def ids(self) -> list[str]:
        """In the order of the posts. Raises where a post is there by half."""
        ids: list[str] = self.sql("SELECT id FROM messages ORDER BY n").scalars()
        counted = self.sql("SELECT posts FROM tally").scalars()  # also of another room, where a replica shows too much
        if counted != [len(ids)]:
            raise HalfAPost(f"{len(ids)} posts are there, and the counter says {counted}")
        return ids

    @read
    def listed(self) -> list[str]:
        """As `ids`; a replica may answer."""
        return Chat.ids(self)

    def post_and_raise(self, id: str) -> None:
        self.post(id)
        raise Refused(id)

    def look_and_raise(self) -> None:
        raise Refused(*self.ids())

    def draft(self, text: str) -> None:
        self.sql("CREATE TABLE IF NOT EXISTS drafts (text TEXT)")
        self.sql("INSERT INTO drafts VALUES (?)", text)

    async def glance(self, seconds: float) -> list[str]:
        """Two slices with a suspension between them; what the second sees is the reply."""
        self.sql("SELECT count(*) FROM messages").scalar()
        await trio.sleep(seconds)
        return self.ids()


class LikedChat(Chat):
    """The next release: two migrations more."""

    migrations = (
        *Chat.migrations,
        "ALTER TABLE messages ADD COLUMN likes INTEGER NOT NULL DEFAULT 0",
        "CREATE TABLE pins (id TEXT PRIMARY KEY NOT NULL)",
    )


LikedChat.__name__ = Chat.__name__


class Refused(Exception):
    """What a handler raises itself."""


class HalfAPost(Exception):
    """Never."""


class PlainChat:
    """What a room must behave like."""

    def __init__(self) -> None:
        self.posts: list[str] = []

    def post(self, id: str, body: str = "") -> int:
        self.posts.append(id)
        return len(self.posts)

    def remove(self) -> str | None:
        return self.posts.pop(0) if self.posts else None

    def ids(self) -> list[str]:
        return list(self.posts)

    def listed(self) -> list[str]:
        return self.ids()

    def glance(self, seconds: float) -> list[str]:
        return self.ids()

    def draft(self, text: str) -> None:
        pass


KINDS = ("post", "post", "post", "long", "remove", "read", "look", "raise", "glance", "draft", "list", "list", "session", "pause")
FRESH = (None, "any", 5.0, "room")


class ChatScenario(Scenario):
    """Six rooms, two places in memory: they come and go all the time."""

    actors = (Chat,)
    releases = ((LikedChat,),)
    model = PlainChat
    reads = ("ids",)
    replica_reads = {"ids": "SELECT id FROM Chat_messages WHERE room_id = ? ORDER BY n"}  # noqa: RUF012 - never changed
    every_fault = True
    rooms = ("a", "b", "c", "d", "e", "f")

    async def client(self, client: Client) -> None:
        chance = client.random
        room = client.room(Chat, chance.choice(self.rooms))
        kind = chance.choice(KINDS)
        if kind == "post":
            await room.post(client.name)
        elif kind == "long":
            await room.post(client.name, "x" * 30_000)
        elif kind == "remove":
            await room.remove()
        elif kind == "read":
            await room.ids()
        elif kind == "look":
            try:
                await room.look_and_raise()
            except Refused as seen:
                client.told("seen", *seen.args)
        elif kind == "raise":
            try:
                await room.post_and_raise(client.name)
            except Refused:
                client.told("refused", client.name)
        elif kind == "glance":
            await room.glance(chance.random())
        elif kind == "draft":
            await room.draft(client.name)
        elif kind == "list":
            await client.room(Chat, chance.choice(self.rooms), chance.choice(FRESH)).listed()
        elif kind == "session":
            await self._visit(client.session(), client)
        elif chance.random() < 0.2:  # else the outages of most lives would be waited for
            await client.pause(600.0)

    async def _visit(self, session: SimulatedSession, client: Client) -> None:
        """Somebody writes, looks around, and looks at all rooms at once; in their session nothing that was seen disappears."""
        chance = client.random
        id = chance.choice(self.rooms)
        await session.room(Chat, id).post(client.name)
        for _ in range(chance.randrange(1, 4)):
            await session.room(Chat, chance.choice([id, *self.rooms]), chance.choice(FRESH)).listed()
        query = "SELECT room_id, id FROM Chat_messages WHERE id = ?"
        found = [tuple(row.values()) for row in await session.across({Chat: "all"}, query, client.name)]
        if not found:
            there = await session.room(Chat, id).listed()
            assert client.name not in there, f"{client.name} was posted to {id} and is there, and across rooms it was not"
        assert found in ([], [(id, client.name)]), f"{client.name} was posted to {id} once, and across rooms it is {found}"

    async def check(self, after: After) -> None:
        """What an exception told is as true as a reply."""
        there = {id for told in after.shown.values() for id in told["ids"]}
        gone = {call.value for call in after.acknowledged("remove")}
        perhaps = any(True for _ in after.unknown("remove"))
        for what, *ids in after.facts:
            for id in ids:
                if what == "refused":
                    assert id not in there, f"post {id} was refused by its handler, and is there"
                else:
                    assert id in there or id in gone or perhaps, f"post {id} was seen in an exception, and is gone"
