"""The made-up chat is the same each time, and looks like a real one."""

from collections import Counter
from itertools import islice
from statistics import median

from durable_rooms.demo.chat import MIX, Chat
from durable_rooms.demo.line import Line


def lines(chat: Chat, count: int) -> list[tuple[str, Line]]:
    return list(islice(iter(lambda: chat.take(0), None), count))


def test_the_same_arguments_give_the_same_lines():
    assert lines(Chat(10, 20, 1), 500) == lines(Chat(10, 20, 1), 500)
    assert lines(Chat(10, 20, 1), 500) != lines(Chat(10, 20, 1, seed=2), 500)


def test_the_mix_is_that_of_a_channel():
    kinds = Counter(line.kind for _, line in lines(Chat(50, 100, 1), 20_000))
    assert set(kinds) == set(MIX)
    assert 0.88 < kinds["message"] / 20_000 < 0.91
    assert 0.06 < kinds["join"] / 20_000 < 0.08


def test_bodies_are_as_long_as_in_a_channel():
    lengths = [len(line.body) for _, line in lines(Chat(5, 10, 1), 5_000) if line.kind == "message"]
    assert 38 < median(lengths) < 48
    assert min(lengths) >= 1
    assert max(lengths) < 500


def test_few_rooms_and_people_make_most_of_the_noise():
    posted = lines(Chat(100, 130, 1), 20_000)
    rooms = Counter(room for room, _ in posted)
    people = Counter(line.author for _, line in posted)
    assert rooms.most_common(1)[0][0] == "room-001"
    assert 0.15 < rooms["room-001"] / 20_000 < 0.25
    assert 0.08 < people.most_common(1)[0][1] / 20_000 < 0.14


def test_one_person_in_one_room_is_a_chat():
    assert {room for room, _ in lines(Chat(1, 1, 1), 50)} == {"room-1"}
