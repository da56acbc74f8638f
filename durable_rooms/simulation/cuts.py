"""Cuts: the places of a life's trace at which the power fails, and what they leave.

What one cut has left may be left by a later one as well, for as long as nothing else has become durable. So it is asked twice:
after what was known at the first of them, and at the last, when more had been promised. Contents that several cuts leave are
opened once, and asked after what was known at each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from durable_rooms.simulation.events import Event
from durable_rooms.simulation.history import History
from durable_rooms.simulation.image import Image, Keep, Wounds, image, key_of
from durable_rooms.simulation.world import World

KEEPS = (Keep.NOTHING, Keep.SOME, Keep.SOME, Keep.SOME, Keep.ALL)
SOON = 40  # events after a fault
SETTLING = ("sync returned", "directory sync returned", "file system sync returned", "evicted")  # less may be left behind these


@dataclass(slots=True)
class Known:
    """What callers knew at a cut, and which one that was. More `cuts` may have left the same while they knew the same."""

    history: History
    where: str
    place: int = 0  # in the trace
    cuts: int = 1


@dataclass(slots=True)
class Remains:
    """Some contents, and what was known at the cuts that left them: at each more than at the one before."""

    key: bytes
    image: Image
    known: list[Known]


class Cuts:
    """Those of one seed. `kept` counts them by what was left of the unsynced."""

    def __init__(self, chance: Random, wounds: Wounds) -> None:
        self.kept = dict.fromkeys(Keep, 0)
        self._chance = chance
        self._wounds = wounds

    def places(self, events: Sequence[Event], count: int) -> list[int]:
        """Where to cut: anywhere, with syncs in flight, just after replies (a promise is youngest there), after faults."""
        if not events:
            return []
        anywhere = range(len(events))
        in_flight = [place for place in anywhere if events[place].kind in ("sync returned", "file system sync returned")]
        replied = [place + 1 for place in anywhere if events[place].kind in ("reply", "told", "replica")]
        failed = [
            min(place + self._chance.randrange(1, SOON), len(events)) for place in anywhere if events[place].kind == "fault"
        ]
        kinds = [kind for kind in (list(anywhere), in_flight, replied, failed) if kind]
        return sorted(self._chance.choice(self._chance.choice(kinds)) for _ in range(count))

    def remains(
        self, world: World, events: Sequence[Event], places: Sequence[int], life: int, history: History, words: str
    ) -> list[Remains]:
        """Play the events of a life on the world, to their end, and cut at each of these places.

        Args:
          life, words: its number, and what it is called.
          history: as it is at the end of the life.
        """
        found: dict[bytes, tuple[Image, dict[int, Known]]] = {}
        lasts = lasts_of(events)
        played = 0
        for place in places:
            world.play(events[played:place])
            played = place
            keep = self._chance.choice(KEEPS)
            left = image(world, keep, self._chance, self._wounds)
            _, known = found.setdefault(key_of(left), (left, {}))
            at, last = history.until(life, place), history.until(life, lasts[place])
            cut = f"{words}, cut after event {place:,}, of the unsynced: {keep.name.lower()}"
            if place not in known:
                self.kept[keep] += 1
                known[place] = Known(at, cut, place)
            if last.promises() > at.promises() and lasts[place] not in known:
                self.kept[Keep.SOME] += 1
                known[lasts[place]] = Known(last, f"{cut}, which a cut after event {lasts[place]:,} may leave, too", lasts[place])
        world.play(events[played:])
        return [Remains(key, left, _told_apart(known)) for key, (left, known) in found.items()]


def lasts_of(events: Sequence[Event]) -> list[int]:
    """By place: until which later one a cut may still leave what a cut here may leave."""
    lasts = [len(events)] * (len(events) + 1)
    for place in range(len(events) - 1, -1, -1):
        lasts[place] = place if events[place].kind in SETTLING else lasts[place + 1]
    return lasts


def _told_apart(known: dict[int, Known]) -> list[Known]:
    apart: list[Known] = []
    for _, one in sorted(known.items()):
        if apart and one.history.extent() == apart[-1].history.extent():
            apart[-1].cuts += 1
        else:
            apart.append(one)
    return apart
