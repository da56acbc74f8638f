"""Reads in simulated lives: sessions that outlive them, replicas that are away for long, and readers that are told too little."""

import pytest

from durable_rooms.simulation import ChatScenario, Client
from durable_rooms.simulation.chat import Chat
from replication.reading import bookmark
from tests.simulation.lives import life, lived, nothing_lost


class Visitors(ChatScenario):
    """Everybody writes and looks around in a session, once in a minute."""

    async def client(self, client: Client) -> None:
        await self._visit(client.session(), client)
        await client.pause(60.0)


class FromTheReplica(ChatScenario):
    clients = 1
    answers: tuple[object, ...] = ()

    async def client(self, client: Client) -> None:
        session = client.session()
        await session.room(Chat, "a").post(client.name)
        await client.pause(60.0)
        await session.room(Chat, "a", "any").listed()


def test_a_session_goes_on_after_kills_and_power_cuts():
    found = nothing_lost(lived(seed, life("killed"), life("cut"), life("stopped"), scenario=Visitors()) for seed in range(2))
    assert found.faults["kill"]
    assert found.faults["power cut"]


def test_ten_minutes_without_the_replica_hide_nothing_from_anybody():
    troubles = [("replica gone", 0.0)] * 2
    found = nothing_lost(
        lived(seed, life("stopped", visits=24, troubles=troubles), scenario=Visitors(), cuts=8) for seed in range(3)
    )
    assert found.faults["replica gone"] > 3


def test_reads_are_answered_by_the_replica():
    found = lived(1, life("stopped", clients=1), scenario=FromTheReplica())
    assert nothing_lost([found]).images
    assert found.replica_answers == 8


def test_a_bookmark_of_an_earlier_life_that_is_refused_is_a_failure(monkeypatch):
    monkeypatch.setattr(bookmark, "_signature", lambda body, key: len(key).to_bytes(bookmark.SIGNATURE_BYTES))
    lives = [life("stopped", clients=1, visits=2), life("stopped", clients=1, visits=2)]
    assert not lived(1, *lives, scenario=FromTheReplica()).failures
    signatures = iter(range(1_000))
    monkeypatch.setattr(bookmark, "_signature", lambda body, key: next(signatures).to_bytes(bookmark.SIGNATURE_BYTES))
    (failure,) = lived(1, *lives, scenario=FromTheReplica()).failures
    assert "the bookmark of an earlier visit was refused" in failure.problems[0]


@pytest.mark.parametrize("fresh", ["any", 60.0])
def test_a_reader_who_is_content_with_less_is_not_told_that_it_is_too_little(fresh, monkeypatch):
    class Content(ChatScenario):
        async def client(self, client: Client) -> None:
            await client.room(Chat, "a").post(client.name)
            await client.room(Chat, "a", fresh).listed()

    assert nothing_lost([lived(1, life("stopped"), scenario=Content())]).images
