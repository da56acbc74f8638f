"""The busiest rooms of a day: `python examples/busiest.py [DATA] [--log FOLDER] [--day YYYY-MM-DD]`."""

import time
from datetime import UTC, datetime, timedelta

from irc_events import DAY
from irc_loading import clock, cut, open_rooms, question
from irc_rooms import ChatRoom, Directory

from durable_rooms import Rows
from durable_rooms.sync import Runtime

ROOMS_SHOWN = 10
BAR = 30  # characters

BUSIEST = """
SELECT listed.title, day.messages, day.people, day.first, day.last
FROM (
    SELECT room_id, count(*) AS messages, count(DISTINCT author) AS people, min(sent_at) AS first, max(sent_at) AS last
    FROM ChatRoom_messages WHERE sent_at >= :begin AND sent_at < :end
    GROUP BY room_id ORDER BY messages DESC, room_id LIMIT :limit
) day
JOIN Directory_rooms listed ON listed.id = day.room_id
ORDER BY day.messages DESC, day.room_id
"""


def busiest(runtime: Runtime, day: datetime, limit: int = ROOMS_SHOWN) -> Rows:
    """Of a day that begins at `day`, in its time zone."""
    rooms = runtime.across({ChatRoom: "all", Directory: ["main"]})
    return rooms.sql(BUSIEST, begin=day.timestamp(), end=(day + timedelta(days=1)).timestamp(), limit=limit)


def date(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)


def main() -> None:
    parser = question("The busiest rooms of a day.")
    parser.add_argument("--day", type=date, default=datetime.fromtimestamp(DAY, UTC), metavar="YYYY-MM-DD")
    arguments = parser.parse_args()
    with open_rooms(arguments) as runtime:
        began = time.perf_counter()
        rooms = busiest(runtime, arguments.day)
        seconds = time.perf_counter() - began

    print(f"{'messages':>9}  {'people':>6}  {'room':<20}  from          to")
    for room in rooms:
        bar = "█" * round(BAR * room.messages / rooms[0].messages)
        span = f"{clock(room.first)}  {clock(room.last)}"
        print(f"{room.messages:>9,}  {room.people:>6,}  {cut(room.title, 20):<20}  {span}  {bar}")
    print(f"{len(rooms)} busiest rooms of {arguments.day:%d %B %Y}; one statement, {1000 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
