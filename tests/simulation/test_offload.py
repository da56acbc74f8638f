"""Offloaded handlers under power cuts, kills, faults and restarts: nothing acknowledged is lost, nothing is there by half, and a
seed still decides everything."""

from dataclasses import replace

from durable_rooms import command
from durable_rooms.simulation import ChatScenario, Client, Found, Simulation, plan_of
from durable_rooms.simulation.chat import Chat, PlainChat, Refused
from durable_rooms.simulation.run import quietly

SPILLED_BYTES = 2_500_000  # more than SQLite keeps in memory of a transaction: its thread writes to the file in the middle


class OffloadedChat(Chat):
    @command(offload=True)
    def post_offloaded(self, id: str, body: str = "") -> int:
        self.kv.set("last", id)
        return self.post(id, body)

    @command(offload=True)
    def post_large(self, id: str) -> int:
        count = self.post(id)
        self.sql("CREATE TABLE IF NOT EXISTS drafts (text TEXT)")
        for _ in range(10):
            self.sql("INSERT INTO drafts VALUES (?)", "x" * (SPILLED_BYTES // 10))
        self.sql("DELETE FROM drafts")
        return count

    @command(offload=True)
    def post_offloaded_and_raise(self, id: str) -> None:
        self.post(id)
        raise Refused(id)


OffloadedChat.__name__ = Chat.__name__


class PlainOffloadedChat(PlainChat):
    def post_offloaded(self, id: str, body: str = "") -> int:
        return self.post(id, body)

    def post_large(self, id: str) -> int:
        return self.post(id)


class Offloaded(ChatScenario):
    actors = (OffloadedChat,)
    releases = ()
    model = PlainOffloadedChat
    every_fault = False

    async def client(self, client: Client) -> None:
        room = client.room(OffloadedChat, client.random.choice("abc"))
        kind = client.random.choice(("post", "offload", "offload", "large", "raise", "glance", "read", "list"))
        if kind == "post":
            await room.post(client.name)
        elif kind == "offload":
            await room.post_offloaded(client.name, "x" * client.random.randrange(100))
        elif kind == "large":
            await room.post_large(client.name)
        elif kind == "raise":
            try:
                await room.post_offloaded_and_raise(client.name)
            except Refused as seen:
                client.told("refused", *seen.args)
        elif kind == "glance":
            await room.glance(client.random.random())
        elif kind == "read":
            await room.ids()
        else:
            await room.listed()


def lived(seed: int, cuts: int) -> Found:
    made = Offloaded()
    return quietly(Simulation(made, seed, plan=replace(plan_of(seed, 3, 2), cuts=cuts)))


def test_offloaded_calls_keep_every_promise_when_the_power_fails() -> None:
    for seed in (1, 2):
        found = lived(seed, cuts=3)
        assert not found.failures, found.failures[0].problems
        assert found.answered.get("Chat.post_offloaded", 0) + found.answered.get("Chat.post_large", 0) > 0


def test_a_seed_with_offloaded_calls_gives_the_same_trace_again() -> None:
    once, again = lived(3, cuts=0), lived(3, cuts=0)
    assert once.trace == again.trace
