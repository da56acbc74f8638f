"""`self.sql` and `self.kv` are for the handler that runs: never for a child task, and never for a thread."""

import threading
from collections.abc import Callable

import pytest
import trio

from durable_rooms import StatementRefused
from durable_rooms.testing import bare
from tests.rooms.chat import ChatRoom, one_room


class Threaded(ChatRoom):
    def post_and_let_a_thread(self, what: str) -> str:
        """A thread tries it while this handler runs and its savepoint is open."""
        self.post("by the handler")
        tries: dict[str, Callable[[], object]] = {
            "post": lambda: self.post("by a thread"),
            "many": lambda: self.sql.many("INSERT INTO messages (body) VALUES (?)", [("by a thread",)]),
            "kv": lambda: self.kv.set("key", "by a thread"),
        }
        found: list[str] = []

        def work() -> None:
            try:
                tries[what]()
            except StatementRefused as error:
                found.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0]

    async def post_from_a_thread(self) -> None:
        self.post("by the handler")
        await trio.to_thread.run_sync(self.post, "by a thread")

    async def post_after(self) -> None:
        async def child() -> None:
            await trio.lowlevel.checkpoint()
            self.post("by a child")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)


@pytest.mark.parametrize("what", ["post", "many", "kv"])
def test_a_thread_may_not_use_sql_while_a_handler_runs(what: str) -> None:
    room = bare(Threaded)
    assert "no handler of this room runs here" in room.post_and_let_a_thread(what)
    assert room.bodies() == ["by the handler"]


@pytest.mark.parametrize("method", ["post_from_a_thread", "post_after"])
async def test_a_thread_or_child_task_of_an_async_handler_may_not_use_sql(method: str) -> None:
    async with one_room(Threaded) as room:
        with pytest.raises((StatementRefused, ExceptionGroup)) as caught:
            await getattr(room, method)()
        error = caught.value.exceptions[0] if isinstance(caught.value, ExceptionGroup) else caught.value
        assert isinstance(error, StatementRefused)
        assert "by a" not in " ".join(await room.bodies())
