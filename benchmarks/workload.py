"""The one workload: a chat room's table, its index, and seeded posts. Both sides of every ratio use it.

Not here: Zipf-distributed rooms, edits and deletions, attachments. Posts are about 120 bytes, as chat lines are.
"""

from functools import cache
from itertools import cycle, islice
from random import Random
from typing import NamedTuple

TABLE = "CREATE TABLE messages (id INTEGER PRIMARY KEY, author TEXT NOT NULL, body TEXT NOT NULL, sent_at REAL NOT NULL)"
INDEX = "CREATE INDEX messages_by_author ON messages (author, sent_at)"
SCHEMA = f"{TABLE}; {INDEX};"
INSERT = "INSERT INTO messages (author, body, sent_at) VALUES (?, ?, ?) RETURNING id"
HISTORY = "SELECT id, author, body, sent_at FROM messages ORDER BY id DESC LIMIT ?"

ROWS_PER_TRANSACTION = 100  # of the ceiling of a hot room

SEED = 1
AUTHORS = 50
POSTS = 4_096
COMMON = "the a to of and is it that in you for on this with was we are not have but what can just so do if will there one like"
TOPICS = "deploy merge branch review test build server queue message channel thread room replica morning thanks lunch tomorrow"
WORDS = [*COMMON.split(), *TOPICS.split()]


class Post(NamedTuple):
    author: str
    body: str


@cache
def posts(seed: int = SEED, count: int = POSTS) -> tuple[Post, ...]:
    """Seeded posts; the same seed gives the same posts."""
    random = Random(seed)
    return tuple(Post(f"user-{random.randrange(AUTHORS):02}", _body(random)) for _ in range(count))


def _body(random: Random) -> str:
    size = random.randint(80, 160)
    text = random.choice(WORDS)
    while len(text) < size:
        text = f"{text} {random.choice(WORDS)}"
    return text[:size]


def rows(count: int, first_id: int = 1) -> list[tuple[int, str, str, float]]:
    """Whole rows with ids from `first_id` on, as a room would hold them."""
    return [
        (id, post.author, post.body, 1_750_000_000.0 + id / 100)
        for id, post in enumerate(islice(cycle(posts()), count), start=first_id)
    ]
