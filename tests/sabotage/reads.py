"""Variants of the reads beside a room's mailbox: what a replica may show, to whom, and when."""

import re

from actors.activation.activation import Activation
from replication.arrivals import Arrivals
from replication.reading import reader
from replication.reading.bookmark import Bookmark
from replication.reading.router import Router, Wanted
from replication.reading.views import HELD_KEY
from tests.sabotage import scenes
from tests.sabotage.variants import Setter, Variant


def reads_wait_for_nothing(put: Setter) -> None:
    put(Router, "_wanted", lambda self, name, fresh, bookmark: Wanted(bookmark.needs(name) if bookmark else None))


def session_forgets_its_commands(put: Setter) -> None:
    put(Bookmark, "saw_room", lambda self, name, position: None)


def session_forgets_what_it_read(put: Setter) -> None:
    put(Bookmark, "saw_replica", lambda self, name, position, generation, batch: None)


def across_does_not_wait(put: Setter) -> None:
    async def caught_up(self, *_, **__):
        return

    put(Arrivals, "caught_up", caught_up)


def every_room_shown(put: Setter) -> None:
    of_room, held = reader.of_room, re.escape(f"= {HELD_KEY}()")

    def every_row(connection, actor, digest):
        views = of_room(connection, actor, digest)
        return [type(view)(view.name, view.columns, re.sub(held, "> 0", view.select), view.reads) for view in views]

    put(reader, "of_room", every_row)


def lane_not_gated(put: Setter) -> None:
    class AtOnce:
        async def durable(self):
            pass

    put(Activation, "commit_now", lambda self, *, reading=False: AtOnce())


VARIANTS = (
    Variant("reads of the replica wait for no write", None, reads_wait_for_nothing),
    Variant("a session forgets its commands", None, session_forgets_its_commands),
    Variant("a session forgets what it has read", None, session_forgets_what_it_read, scenes.copy_put_in_place),
    Variant("across rooms waits for no write", None, across_does_not_wait),
    Variant("every room's rows are shown", None, every_room_shown),
    Variant("reads beside the mailbox not gated", 2, lane_not_gated),
)
