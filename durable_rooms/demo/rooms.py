"""The actor of the demo: a chat room that keeps its messages and knows who is there."""

from typing import ClassVar

from durable_rooms import Actor


class ChatRoom(Actor):
    # `uid` is unique by what the ledger posts, not by a constraint: a line that is there twice must show, not be refused.
    migrations: ClassVar = [
        """
        CREATE TABLE messages (
            id INTEGER PRIMARY KEY, uid TEXT NOT NULL, kind TEXT NOT NULL,
            author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL
        );
        CREATE INDEX messages_by_author ON messages (author, sent_at);
        CREATE TABLE members (nick TEXT NOT NULL PRIMARY KEY, since REAL NOT NULL, renamed INTEGER NOT NULL DEFAULT 0);
        """,
    ]

    def post(self, uid: str, kind: str, author: str, body: str) -> int:
        """Add one line; all or nothing. Returns its number in the room."""
        now = self.now()
        if kind == "join":
            self.sql(
                "INSERT INTO members (nick, since) VALUES (?, ?) ON CONFLICT (nick) DO UPDATE SET since = excluded.since",
                author,
                now,
            )
        elif kind == "part":
            self.sql("DELETE FROM members WHERE nick = ?", author)
        elif kind == "nick" and author != body:
            self.sql("DELETE FROM members WHERE nick = ?", body)
            self.sql("UPDATE members SET nick = ?, renamed = renamed + 1 WHERE nick = ?", body, author)
        return self.sql(
            "INSERT INTO messages (uid, kind, author, body, sent_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
            uid,
            kind,
            author,
            body,
            now,
        ).scalar()
