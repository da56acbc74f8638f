"""The scenarios of the benchmark `simulation`: one busy room, and people who say something every ten minutes."""

from durable_rooms.simulation import ChatScenario, Client

PAUSE_SECONDS = 1_200.0  # at most, virtual


class OneRoom(ChatScenario):
    """The shipped chat in a single room, cut about as often as each life has places: the closer cuts lie, the more leave the same
    and share an opening (at 50 a life a quarter fewer a second)."""

    rooms = ("a",)
    cuts = 800


class OneRoomBriefly(OneRoom):
    """To see that it runs."""

    cuts = 10


class Idlers(ChatScenario):
    """The shipped chat, with long silences."""

    async def client(self, client: Client) -> None:
        await client.pause(PAUSE_SECONDS)
        await super().client(client)
