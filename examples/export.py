"""Everything that a person wrote, in all rooms, as JSON lines: `python examples/export.py [DATA] [--log FOLDER] [--who NICK]`.

In pages, so that it may be of any length: each goes on behind the last row of the one before, by the indexes alone.
"""

import json
import os
import sys
import time
from collections.abc import Iterator

from irc_loading import open_rooms, question
from irc_rooms import ChatRoom

from durable_rooms import Row
from durable_rooms.sync import Runtime

PAGE_ROWS = 1_000  # some 4 ms; a page is one moment of the replica, whose WAL cannot begin anew meanwhile

PAGE = """
SELECT room_id AS room, id, sent_at, body FROM ChatRoom_messages
WHERE author = ? AND (room_id, id) > (?, ?) ORDER BY room_id, id LIMIT ?
"""
MOST_TALKATIVE = "SELECT author FROM ChatRoom_messages GROUP BY author ORDER BY count(*) DESC, author LIMIT 1"


def export(runtime: Runtime, nick: str) -> Iterator[Row]:
    rooms = runtime.session().across({ChatRoom: "all"})  # a session: no page is of an earlier moment than the one before
    room, id = "", 0
    while page := rooms.sql(PAGE, nick, room, id, PAGE_ROWS):
        yield from page
        room, id = page[-1].room, page[-1].id


def most_talkative(runtime: Runtime) -> str:
    return runtime.across({ChatRoom: "all"}).sql(MOST_TALKATIVE).scalar()


def main() -> None:
    parser = question("Everything that a person wrote, in all rooms, as JSON lines.")
    parser.add_argument("--who", metavar="NICK", help="whose messages; without: of whoever wrote most")
    arguments = parser.parse_args()
    with open_rooms(arguments) as runtime:
        nick = arguments.who or most_talkative(runtime)
        began, count = time.perf_counter(), 0
        try:
            for message in export(runtime, nick):
                print(json.dumps(message, ensure_ascii=False))
                count += 1
        except BrokenPipeError:  # `| head` has seen enough; nor is anything to be flushed at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"{nick}: {count:,} messages in {time.perf_counter() - began:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
