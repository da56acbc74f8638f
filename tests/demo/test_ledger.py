"""The ledger: every post is in exactly one state, and moves once."""

import pytest

from durable_rooms.demo.ledger import Ledger, State, percentile
from durable_rooms.demo.line import Line
from durable_rooms.demo.wire import decoder, number_of, pack, uid

HELLO = Line("message", "ann", "hello")


def test_every_post_has_one_state_and_the_counts_add_up():
    ledger = Ledger("run")
    numbers = [ledger.post("den", HELLO) for _ in range(5)]
    ledger.acknowledge(numbers[0], 0.010)
    ledger.refuse(numbers[1], "rolled back", "why")
    ledger.refuse(numbers[2], "unknown", "why")
    ledger.lose_sight(numbers[3])
    assert [ledger.state(number) for number in numbers] == [
        State.acknowledged,
        State.refused,
        State.unknown,
        State.unknown,
        State.in_flight,
    ]
    assert len(ledger) == ledger.acknowledged + ledger.refused + ledger.unknown + 1
    assert ledger.percentile(0.5) == pytest.approx(0.010)


def test_a_post_cannot_be_answered_twice():
    ledger = Ledger("run")
    number = ledger.post("den", HELLO)
    ledger.acknowledge(number, 0.01)
    with pytest.raises(AssertionError):
        ledger.acknowledge(number, 0.01)


def test_a_row_fits_only_with_the_room_and_the_content_that_were_posted():
    ledger = Ledger("run")
    number = ledger.post("den", HELLO)
    ledger.post("attic", HELLO)
    assert ledger.fits(number, "den", HELLO)
    assert not ledger.fits(number, "attic", HELLO)
    assert not ledger.fits(number, "den", HELLO._replace(body="hallo"))


def test_a_uid_gives_back_its_number_and_foreign_ones_none():
    assert number_of("run", uid("run", 12)) == 12
    assert [number_of("run", text) for text in ("", "run", "run-", "run-x", "other-12", "run-²")] == [None] * 6


def test_a_message_that_was_cut_off_never_comes_out():
    whole, torn = pack(["done", [1, 2]]), pack(["done", [3, 4]])[:-1]
    messages = decoder()
    messages.feed(whole[:3])
    assert list(messages) == []
    messages.feed(whole[3:] + torn)
    assert list(messages) == [["done", [1, 2]]]


def test_percentiles_of_nothing_are_zero():
    assert percentile([], 0.99) == 0.0
    assert percentile([3, 1, 2], 0.5) == 2
