"""The scenarios of the benchmark `simulation`: one busy room, and people who say something every ten minutes."""

from durable_rooms.simulation import ChatScenario, Client

PAUSE_SECONDS = 1_200.0  # at most, virtual


class OneRoom(ChatScenario):
    """The shipped chat in a single room."""

    rooms = ("a",)
    cuts = 100


class Idlers(ChatScenario):
    """The shipped chat, with long silences."""

    async def client(self, client: Client) -> None:
        await client.pause(PAUSE_SECONDS)
        await super().client(client)
