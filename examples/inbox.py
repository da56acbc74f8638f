"""A person's inbox over all rooms, in one statement: `python examples/inbox.py [DATA] [--log FOLDER] [--who NICK]`.

Each room that they are a member of: how much of it they have not read, and what was said last, the latest first.
"""

import time

from irc_loading import YOU, clock, cut, open_rooms, question
from irc_rooms import ChatRoom, Directory

from durable_rooms import Rows
from durable_rooms.sync import Runtime

ROOMS_SHOWN = 20

# Of each room SQLite reads one message; those unread it counts in an index. JOIN, not LEFT JOIN, which would copy whole views.
INBOX = """
SELECT listed.title, last.author, last.body, last.sent_at,
    (SELECT count(*) FROM ChatRoom_messages new WHERE new.room_id = mine.room_id AND new.id > mine.up_to) AS unread
FROM ChatRoom_members member
JOIN ChatRoom_reads mine ON mine.room_id = member.room_id AND mine.nick = member.nick
JOIN Directory_rooms listed ON listed.id = member.room_id
JOIN ChatRoom_messages last ON last.room_id = member.room_id
    AND last.id = (SELECT max(id) FROM ChatRoom_messages every WHERE every.room_id = member.room_id)
WHERE member.nick = ?
ORDER BY last.sent_at DESC, member.room_id
"""


def inbox(runtime: Runtime, nick: str) -> Rows:
    return runtime.across({ChatRoom: "all", Directory: ["main"]}).sql(INBOX, nick)


def main() -> None:
    parser = question("A person's inbox over all rooms.")
    parser.add_argument("--who", default=YOU, metavar="NICK", help="whose inbox (%(default)s)")
    arguments = parser.parse_args()
    with open_rooms(arguments) as runtime:
        began = time.perf_counter()
        rooms = inbox(runtime, arguments.who)
        seconds = time.perf_counter() - began

    print(f"{'unread':>7}  {'room':<20}  {'last message':<12}")
    for room in rooms[:ROOMS_SHOWN]:
        said = cut(f"{room.author}: {room.body}", 70)
        print(f"{room.unread or '':>7}  {cut(room.title, 20):<20}  {clock(room.sent_at)}  {said}")
    if len(rooms) > ROOMS_SHOWN:
        print(f"{'…':>7}  and {len(rooms) - ROOMS_SHOWN} more rooms")
    unread = sum(room.unread for room in rooms)
    print(f"{arguments.who}: {unread:,} unread in {len(rooms)} rooms; one statement, {1000 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
