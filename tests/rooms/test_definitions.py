"""What is wrong with a class is said when it is defined, or when the runtime is opened."""

import pytest

from durable_rooms import Actor
from durable_rooms.testing import bare, open_test_runtime
from tests.rooms.chat import ChatRoom


@pytest.mark.parametrize("name", ["id", "sql", "random", "now", "new_id", "exclusive", "_here"])
def test_a_name_that_actor_provides_cannot_be_redefined(name: str) -> None:
    with pytest.raises(TypeError, match=f"Room redefines {name}, which Actor provides"):
        type("Room", (Actor,), {name: lambda self: None})
    with pytest.raises(TypeError, match=f"Room redefines {name}"):
        type("Room", (type("Mixin", (), {name: lambda self: None}), Actor), {})


@pytest.mark.parametrize("name", ["actor", "options", "call", "ask"])
def test_a_name_of_the_stub_cannot_be_a_handler(name: str) -> None:
    with pytest.raises(TypeError, match=f"Room: {name} is a name of every room's stub"):
        type("Room", (Actor,), {name: lambda self: None})
    with pytest.raises(TypeError, match=f"Room: {name} is a name"):
        type("Room", (type("Mixin", (), {name: lambda self: None}), Actor), {})


def test_a_subclass_may_redefine_handlers_and_lifecycle_hooks() -> None:
    class Louder(ChatRoom):
        def ping(self) -> str:
            return "PONG"

        def on_start(self) -> None: ...

    assert bare(Louder).ping() == "PONG"


def test_a_mixin_of_handlers_is_fine() -> None:
    class Greets:
        def greet(self) -> str:
            return "hello"

    assert bare(type("Room", (Greets, ChatRoom), {})).greet() == "hello"


def test_local_tables_is_a_set_and_not_one_text() -> None:
    with pytest.raises(TypeError, match=r"local_tables is a set of names: frozenset\(\{'notes'\}\)"):
        type("Room", (Actor,), {"local_tables": "notes"})


async def test_two_classes_of_one_name_are_refused(autojump_clock) -> None:
    first, second = (type("Room", (Actor,), {}) for _ in range(2))
    with pytest.raises(ValueError, match="two actor classes are named Room"):
        async with open_test_runtime(first, second):
            pass


@pytest.mark.parametrize("classes", [(), (int,), ("ChatRoom",), (ChatRoom(),)])
async def test_a_runtime_takes_actor_classes_and_at_least_one(classes: tuple, autojump_clock) -> None:
    with pytest.raises((TypeError, ValueError), match=r"actor class|subclass of Actor"):
        async with open_test_runtime(*classes):
            pass
