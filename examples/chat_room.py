"""The room that the examples share. It is the same class in asyncio, in threads and in trio."""

from durable_rooms import Actor, RoomIdInvalid, RoomsError, Rows, RuntimeClosed, TooLarge, read


class ChatRoom(Actor):
    migrations = (
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL)",
    )

    def post(self, author: str, body: str) -> int:
        return self.sql(
            "INSERT INTO messages (author, body, sent_at) VALUES (?, ?, ?) RETURNING id", author, body, self.now()
        ).scalar()

    @read
    def history(self, limit: int = 50) -> Rows:
        return self.sql("SELECT * FROM messages ORDER BY id DESC LIMIT ?", limit)


def http_status(error: RoomsError) -> int:
    """Try again later (503), do not send this again (400), or look into the log (500)."""
    if error.retryable or isinstance(error, RuntimeClosed):
        return 503
    return 400 if isinstance(error, RoomIdInvalid | TooLarge) else 500
