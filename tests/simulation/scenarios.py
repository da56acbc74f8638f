"""Actors as users might write them, right and wrong, each with a scenario; and the same scenario as README shows it."""

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
