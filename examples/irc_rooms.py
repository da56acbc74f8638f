"""The classes of the questions across rooms: a chat room that knows what each member has read, and the list of all rooms."""

from collections.abc import Sequence

from irc_events import Event

from durable_rooms import Actor, read


class ChatRoom(Actor):
    migrations = (
        """
        -- id: when it was said, in milliseconds, or the next free number; so the newest of all rooms have the greatest
        CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL);
        CREATE INDEX by_author ON messages (author, id);
        CREATE INDEX by_time ON messages (sent_at, author);
        CREATE TABLE members (nick TEXT NOT NULL PRIMARY KEY);
        CREATE TABLE reads (nick TEXT NOT NULL PRIMARY KEY, up_to INTEGER NOT NULL);  -- each member's newest read message
        CREATE TABLE replayed (events INTEGER NOT NULL);  -- of a log, so that a loading that was cut short goes on
        """,
    )
    local_tables = frozenset({"replayed"})
    fulltext = {"messages": ["body"]}  # noqa: RUF012 - declared once, never changed

    def join(self, nick: str) -> None:
        if self.sql("INSERT INTO members (nick) VALUES (?) ON CONFLICT DO NOTHING", nick).changes:
            self.mark_read(nick, self._newest())  # what was said before they came is no news to them

    def part(self, nick: str) -> None:
        self.sql("DELETE FROM members WHERE nick = ?", nick)
        self.sql("DELETE FROM reads WHERE nick = ?", nick)

    def rename(self, nick: str, new: str) -> None:
        self.join(nick)
        self.sql("UPDATE OR REPLACE members SET nick = ? WHERE nick = ?", new, nick)
        self.sql("UPDATE OR REPLACE reads SET nick = ? WHERE nick = ?", new, nick)

    def post(self, author: str, body: str) -> int:
        number = self._say(author, body, self.now())
        self.mark_read(author, number)
        return number

    def mark_read(self, nick: str, up_to: int) -> None:
        """Never takes anything back: of two devices the one that is further counts."""
        query = "INSERT INTO reads (nick, up_to) VALUES (?, ?) ON CONFLICT DO UPDATE SET up_to = max(up_to, excluded.up_to)"
        self.sql(query, nick, up_to)

    def replay(self, events: Sequence[Event]) -> int:
        """Many lines of a log in one call: one transaction, one sync. Returns the newest message."""
        spoke: dict[str, int] = {}  # marked as read at the end: one row a person instead of one a message
        for kind, nick, body, at in events:
            match kind:
                case "message":
                    spoke[nick] = self._say(nick, body, at)
                case "join":
                    self.join(nick)
                case "part":
                    spoke.pop(nick, None)
                    self.part(nick)
                case "nick":
                    self._mark_all_read(spoke)
                    self.rename(nick, body)
        self._mark_all_read(spoke)
        self.sql("INSERT INTO replayed (events) VALUES (?)", len(events))
        return self._newest()

    def replayed(self) -> int:
        return self.sql("SELECT coalesce(sum(events), 0) FROM replayed").scalar()

    def _say(self, author: str, body: str, at: float) -> int:
        self.join(author)  # a log begins in the middle of a talk: who speaks is there
        return self.sql(
            "INSERT INTO messages (id, author, body, sent_at) VALUES (?, ?, ?, ?) RETURNING id",
            max(round(at * 1000), self._newest() + 1),
            author,
            body,
            at,
        ).scalar()

    def _newest(self) -> int:
        return self.sql("SELECT coalesce(max(id), 0) FROM messages").scalar()

    def _mark_all_read(self, spoke: dict[str, int]) -> None:
        while spoke:
            self.mark_read(*spoke.popitem())


class Directory(Actor):
    """The list of all rooms; a room of its own, `main`."""

    migrations = ("CREATE TABLE rooms (id TEXT NOT NULL PRIMARY KEY, title TEXT NOT NULL)",)

    def add(self, titles: dict[str, str]) -> None:
        query = "INSERT INTO rooms (id, title) VALUES (?, ?) ON CONFLICT DO UPDATE SET title = excluded.title"
        self.sql.many(query, [*titles.items()])

    @read
    def ids(self) -> list[str]:
        return self.sql("SELECT id FROM rooms ORDER BY id").scalars()
