"""`by_value` is msgpack and nothing else: what it gives is what a pack and an unpack would give."""

from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.statements.codec import by_value

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=st.just(UTC))
)
keys = st.text() | st.integers(-(1 << 63), (1 << 64) - 1) | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def listed(value: Any) -> Any:
    """The same with its tuples as lists."""
    if isinstance(value, list | tuple):
        return [listed(one) for one in value]
    if isinstance(value, dict):
        return {key: listed(one) for key, one in value.items()}
    return value


@given(values)
@settings(max_examples=300, deadline=None)
def test_a_value_arrives_equal_with_lists_for_tuples(value: Any) -> None:
    arrived, size = by_value(value)
    assert arrived == listed(value)
    assert by_value(arrived) == (arrived, size)  # once across, it crosses unchanged


@given(values)
@settings(max_examples=100, deadline=None)
def test_it_is_what_msgpack_says(value: Any) -> None:
    packed = msgpack.packb(value, datetime=True)
    assert by_value(value) == (msgpack.unpackb(packed, timestamp=3, strict_map_key=False), len(packed))


@given(values)
@settings(max_examples=100, deadline=None)
def test_what_arrives_shares_no_memory_with_what_was_sent(value: Any) -> None:
    def containers(one: Any) -> set[int]:
        if isinstance(one, dict):
            return {id(one)}.union(*map(containers, one.values()))
        if isinstance(one, list):
            return {id(one)}.union(*map(containers, one))
        return set()

    arrived, _ = by_value(value)
    assert not containers(arrived) & containers(value)


@given(values, st.sampled_from([{1}, object(), 1 << 70, "\udfff", datetime(2000, 1, 1)]))  # noqa: DTZ001
@settings(max_examples=100, deadline=None)
def test_one_bad_part_refuses_the_whole_and_harms_no_later_value(value: Any, bad: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        by_value([value, [bad], value])
    arrived, _ = by_value(value)
    assert arrived == listed(value)


def test_nan_is_carried() -> None:
    arrived, _ = by_value(float("nan"))
    assert arrived != arrived


@pytest.mark.parametrize(
    "subclass", [type("Text", (str,), {})("a"), type("Dict", (dict,), {})(a=1), type("Number", (int,), {})(3)]
)
def test_subclasses_arrive_as_what_they_are_at_heart(subclass: Any) -> None:
    arrived, _ = by_value(subclass)
    assert arrived == subclass
    assert type(arrived) is type(subclass).__mro__[1]


def test_nesting_is_carried_to_several_hundred_levels() -> None:
    deep: Any = "bottom"
    for _ in range(450):
        deep = [deep]
    arrived, _ = by_value(deep)
    for _ in range(450):
        (arrived,) = arrived
    assert arrived == "bottom"
