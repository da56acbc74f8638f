"""Actors as users might write them, right and wrong, each with a scenario; and the same scenario as README shows it."""

from contextlib import suppress

import trio

from durable_rooms import Actor
from durable_rooms.simulation import After, Client, Scenario


class Poll(Actor):
    migrations = ("CREATE TABLE votes (voter TEXT PRIMARY KEY NOT NULL)",)

    def vote(self, voter: str) -> int:
        self.sql("INSERT INTO votes VALUES (?)", voter)
        return self.sql("SELECT count(*) FROM votes").scalar()

    def voters(self) -> list[str]:
        return self.sql("SELECT voter FROM votes").scalars()


class Votes(Scenario):
    actors = (Poll,)

    async def client(self, client: Client) -> None:
        await client.room(Poll, client.random.choice("ab")).vote(client.name)

    async def check(self, after: After) -> None:
        for vote in after.acknowledged("vote"):
            voters = await after.room(Poll, vote.id).voters()
            assert vote.args[0] in voters, f"{vote}, and the vote is gone: the room has {len(voters)} voters"


# -- wrong: keeps its state in memory only ------------------------------------------------------------------------------------
class ForgetfulPoll(Actor):
    def __init__(self) -> None:
        self.votes: list[str] = []

    def vote(self, voter: str) -> int:
        self.votes.append(voter)
        return len(self.votes)

    def voters(self) -> list[str]:
        return self.votes


class ForgetfulVotes(Scenario):
    actors = (ForgetfulPoll,)

    async def client(self, client: Client) -> None:
        await client.room(ForgetfulPoll, client.random.choice("ab")).vote(client.name)

    async def check(self, after: After) -> None:
        for vote in after.acknowledged("vote"):
            voters = await after.room(ForgetfulPoll, vote.id).voters()
            assert vote.args[0] in voters, f"{vote}, and the vote is gone: the room has {len(voters)} voters"


# -- wrong: tells the outside before it writes --------------------------------------------------------------------------------
def send_mail(to: str, text: str) -> None:
    """What an application has, and a scenario patches."""


class HastyShop(Actor):
    migrations = ("CREATE TABLE orders (id TEXT PRIMARY KEY NOT NULL)",)

    def order(self, id: str) -> None:
        send_mail(id, "thank you for your order")
        self.sql("INSERT INTO orders VALUES (?)", id)

    def orders(self) -> list[str]:
        return self.sql("SELECT id FROM orders").scalars()


class HastyOrders(Scenario):
    actors = (HastyShop,)

    async def client(self, client: Client) -> None:
        globals()["send_mail"] = lambda to, text: self.told("mail", to)
        await client.room(HastyShop, "shop").order(client.name)

    async def check(self, after: After) -> None:
        orders = await after.room(HastyShop, "shop").orders()
        for _, id in after.facts:
            assert id in orders, f"{id} was thanked by mail for an order that the shop does not have"


# -- right: the mail leaves when the call has returned --------------------------------------------------------------------------
class Shop(Actor):
    migrations = HastyShop.migrations

    def order(self, id: str) -> None:
        self.sql("INSERT INTO orders VALUES (?)", id)

    def orders(self) -> list[str]:
        return self.sql("SELECT id FROM orders").scalars()


class Orders(Scenario):
    actors = (Shop,)

    async def client(self, client: Client) -> None:
        await client.room(Shop, "shop").order(client.name)
        client.told("mail", client.name)  # returned = durable

    async def check(self, after: After) -> None:
        orders = await after.room(Shop, "shop").orders()
        for _, id in after.facts:
            assert id in orders, f"{id} was thanked by mail for an order that the shop does not have"


# -- right: models as people write them ------------------------------------------------------------------------------------------
class Missing(Exception):
    pass


class Store(Actor):
    migrations = ("CREATE TABLE pairs (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL)",)

    def put(self, key: str, value: str) -> None:
        self.sql("INSERT INTO pairs VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)

    def take(self, key: str) -> str:
        row = self.sql("DELETE FROM pairs WHERE key = ? RETURNING value", key).first()
        if row is None:
            raise Missing(key)
        return row.value

    def pairs(self) -> dict[str, str]:
        return {row.key: row.value for row in self.sql("SELECT * FROM pairs")}


class DictStore:
    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def put(self, key: str, value: str) -> None:
        self.rows[key] = value

    def take(self, key: str) -> str:
        return self.rows.pop(key)

    def pairs(self) -> dict[str, str]:
        return self.rows


class Stores(Scenario):
    """The model raises where the room does, and an unanswered call may have found nothing to take."""

    actors = (Store,)
    model = DictStore
    reads = ("pairs",)

    async def client(self, client: Client) -> None:
        store, key = client.room(Store, "a"), client.random.choice("xyz")
        with suppress(Missing):
            await (store.put(key, client.name) if client.random.random() < 0.5 else store.take(key))


class Counter(Actor):
    migrations = ("CREATE TABLE counts (one INTEGER PRIMARY KEY, n INTEGER NOT NULL)", "INSERT INTO counts VALUES (1, 0)")

    def add(self, by: int = 1) -> tuple[int, str]:
        return self.sql("UPDATE counts SET n = n + ? RETURNING n", by).scalar(), "counted"

    def total(self) -> int:
        return self.sql("SELECT n FROM counts").scalar()


class Number:
    """With a slot, and a tuple that arrives as a list."""

    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0

    def add(self, by: int = 1) -> tuple[int, str]:
        self.n += by
        return self.n, "counted"

    def total(self) -> int:
        return self.n


class Counts(Scenario):
    actors = (Counter,)
    model = Number
    reads = ("total",)

    async def client(self, client: Client) -> None:
        await client.room(Counter, "a").add(by=client.random.randrange(5))


class PlainPoll:
    def __init__(self) -> None:
        self.names: list[str] = []

    def vote(self, voter: str) -> int:
        self.names.append(voter)
        return len(self.names)

    def voters(self) -> list[str]:
        return self.names


class OrderedPoll(Actor):
    migrations = ("CREATE TABLE votes (n INTEGER PRIMARY KEY, voter TEXT NOT NULL)",)

    def vote(self, voter: str) -> int:
        return self.sql("INSERT INTO votes (voter) VALUES (?) RETURNING n", voter).scalar()

    def voters(self) -> list[str]:
        return self.sql("SELECT voter FROM votes ORDER BY n").scalars()


class TwoClasses(Scenario):
    """Rooms of the same id, one of a class with the method that is read, one without; each client calls both at once."""

    actors = (OrderedPoll, Counter)
    model = PlainPoll
    reads = ("voters",)
    replica_reads = {"voters": "SELECT voter FROM OrderedPoll_votes WHERE room_id = ? ORDER BY n"}

    async def client(self, client: Client) -> None:
        async with trio.open_nursery() as both:
            both.start_soon(client.room(OrderedPoll, "a").vote, client.name)
            both.start_soon(client.room(Counter, "a").add)


class NothingAsked(Scenario):
    """No model, no reads, no check: what the runtime promises of every room is asked all the same."""

    actors = (Poll,)

    async def client(self, client: Client) -> None:
        await client.room(Poll, client.random.choice("ab")).vote(client.name)


# -- scenarios with a mistake of their own --------------------------------------------------------------------------------------
class OfAnotherClass(Votes):
    actors = (Shop,)


class Raising(Votes):
    async def client(self, client: Client) -> None:
        raise LookupError("nobody expected this")


class RaisingCheck(Votes):
    async def check(self, after: After) -> None:
        raise LookupError("nobody expected this")


class WithoutWords(Votes):
    async def check(self, after: After) -> None:
        assert len(list(after.acknowledged())) < 1


class MisspelledPoll(Actor):
    migrations = Poll.migrations

    def vote(self, voter: str) -> None:
        self.sql("INSERT INTO vots VALUES (?)", voter)


class MisspelledTable(Scenario):
    actors = (MisspelledPoll,)

    async def client(self, client: Client) -> None:
        await client.room(MisspelledPoll, "a").vote(client.name)


class WrongArguments(Votes):
    """Every call is refused: nothing is lost, and nothing was there to lose."""

    async def client(self, client: Client) -> None:
        await client.room(Poll, "a").vote(client.name, "again")


class Idle(Votes):
    async def client(self, client: Client) -> None:
        pass


class LongPauses(Votes):
    async def client(self, client: Client) -> None:
        await client.pause(1_000_000)


class Endless(Votes):
    async def client(self, client: Client) -> None:
        while True:
            await client.room(Poll, "a").voters()


class Restless(Votes):
    async def client(self, client: Client) -> None:
        while True:
            await trio.lowlevel.checkpoint()


class RaisingModel(Votes):
    class model:
        def __init__(self) -> None:
            raise LookupError("nobody expected this")

        def vote(self, voter: str) -> int: ...
