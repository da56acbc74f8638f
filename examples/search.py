"""Search in all rooms that a person may see: `python examples/search.py [DATA] [--log FOLDER] [--who NICK] [--words WORDS]`.

All words must be there; "side by side" in quotes, `upgrad*` for any ending. The newest first, whatever room they are in.
"""

import time

from irc_loading import YOU, clock, cut, open_rooms, question
from irc_rooms import ChatRoom

from durable_rooms import Rows
from durable_rooms.sync import Runtime

FOUND_SHOWN = 15


def search(runtime: Runtime, nick: str, words: str, limit: int = FOUND_SHOWN) -> Rows:
    session = runtime.session()  # the second question sees nothing older than the first
    mine = session.across({ChatRoom: "all"}).sql("SELECT room_id FROM ChatRoom_members WHERE nick = ?", nick).scalars()
    return session.across({ChatRoom: mine}).match(ChatRoom, "messages", words, limit=limit)  # other rooms are not there


def main() -> None:
    parser = question("Search in all rooms that a person may see.")
    parser.add_argument("--words", default="42", metavar="WORDS", help="what to look for (%(default)s)")
    parser.add_argument("--who", default=YOU, metavar="NICK", help="who searches (%(default)s)")
    arguments = parser.parse_args()
    with open_rooms(arguments) as runtime:
        began = time.perf_counter()
        found = search(runtime, arguments.who, arguments.words)
        seconds = time.perf_counter() - began

    for message in found:
        said = cut(f"{message.author}: {message.body}", 90)
        print(f"{clock(message.sent_at)}  {cut(message.room_id, 20):<20}  {said}")
    newest = "the newest " if len(found) == FOUND_SHOWN else ""
    print(f"{newest}{len(found)} messages with {arguments.words!r} that {arguments.who} may see; {1000 * seconds:.0f} ms")


if __name__ == "__main__":
    main()
