"""A synthetic chat, seeded: the same arguments give the same lines in the same order. How many are posted depends on the machine.

The mix follows real channel logs: of 1,000 lines 895 are messages, 3 actions, 70 joins, 11 parts, 20 changes of a name, 1 a mode;
half of the bodies have fewer than 43 characters, one in twenty more than 167; a few rooms and people make most of the noise.
The words are made up.
"""

from bisect import bisect
from itertools import accumulate
from random import Random

from durable_rooms.demo.line import Kind, Line

MIX: dict[Kind, int] = {"message": 895, "action": 3, "join": 70, "part": 11, "nick": 20, "mode": 1}
BODY_LENGTHS = (1, 4, 9, 13, 17, 22, 26, 30, 34, 38, 43, 48, 54, 60, 67, 76, 87, 102, 124, 167, 420)  # at 0 %, 5 %, … 100 %
BODIES = 4_096  # made once: making a sentence for each line would measure the demo and not the rooms
ROOMS_SKEW = 1.0  # Zipf: the second room has half of the first one's lines, the third a third
PEOPLE_SKEW = 0.75  # the most talkative of 130 people says a tenth of everything
SEED = 1
FIRST = ["ka", "lo", "mi", "ru", "sta", "pe", "vo", "ne", "sho", "ti", "bru", "na", "ge", "fa", "zi"]
LAST = ["ra", "lin", "mos", "ket", "dun", "vi", "sel", "tor", "ba", "nu", "rik", "ma", "fen"]
ODD = ["né", "søl", "žuk", "日和", "🙂", "->", "...", "?", "!", "42", "o'ma"]


class Chat:
    """A feed of `users` people who post without pause for `seconds`, in `rooms` rooms."""

    def __init__(self, rooms: int, users: int, seconds: float, seed: int = SEED) -> None:
        self.lanes = users
        self.rooms = rooms
        self.skipped = 0
        self._seconds = seconds
        self._names = [f"room-{number:0{len(str(rooms))}}" for number in range(1, rooms + 1)]
        self._random = Random(seed)
        words = [first + last for first in FIRST for last in LAST] + ODD * 3
        self._people = [f"{words[n % 190]}{n // 190 or ''}" for n in range(users)]
        self._bodies = [sentence(self._random, words) for _ in range(BODIES)]
        self._room_odds, self._people_odds = zipf(rooms, ROOMS_SKEW), zipf(users, PEOPLE_SKEW)
        self._kinds: list[Kind] = [kind for kind, share in MIX.items() for _ in range(share)]

    @property
    def description(self) -> str:
        rooms, users = self.rooms, len(self._people)
        return f"{self._seconds:g} seconds of a made-up chat of {users:,} people in {rooms:,} room{'s' * (rooms > 1)}"

    def take(self, lane: int) -> tuple[str, Line]:
        # random() is by far the cheapest draw; this runs once a line in the process that measures.
        draw = self._random.random
        room = self._names[bisect(self._room_odds, draw())]
        author = self._people[bisect(self._people_odds, draw())]
        kind = self._kinds[int(draw() * len(self._kinds))]
        return room, Line(kind, author, self._body(kind, author, draw()))

    def progress(self, answered: int, seconds: float) -> float:
        return seconds / self._seconds if answered else 0.0

    def _body(self, kind: Kind, author: str, chance: float) -> str:
        match kind:
            case "message" | "action":
                return self._bodies[int(chance * BODIES)]
            case "nick":
                return f"{author}_{'away' if chance < 0.5 else 'work'}"
            case "mode":
                return "+o" if chance < 0.5 else "-o"
            case "join" | "part":
                return ""


def zipf(count: int, skew: float) -> list[float]:
    """Cumulated shares of the 1st, 2nd, … of `count`; the last one is 1."""
    weights = list(accumulate(1 / rank**skew for rank in range(1, count + 1)))
    return [weight / weights[-1] for weight in weights]


def sentence(random: Random, words: list[str]) -> str:
    place = random.random() * (len(BODY_LENGTHS) - 1)
    low, high = BODY_LENGTHS[int(place)], BODY_LENGTHS[int(place) + 1]
    length = round(low + (high - low) * (place % 1))
    text = random.choice(words)
    while len(text) < length:
        text += f" {random.choice(words)}"
    return text[:length].rstrip() or "k"
