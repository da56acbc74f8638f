"""Images: every combination where few things are unsynced, drawn ones otherwise, each of them possible."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from durable_rooms.simulation.events import Event
from durable_rooms.simulation.image import EXHAUSTIVE_MAX, SECTOR, Keep, Wounds, every_image, image, key_of, write_image
from durable_rooms.simulation.world import DIRECTORY, World, world_of

DRAWS = 300


def world(*events: Event) -> World:
    made = world_of({"a": b"....", "gone": b"x"})
    made.play(events)
    return made


def write(node: int, data: bytes, offset: int = 0) -> Event:
    return Event("write", node=node, data=data, offset=offset)


def test_every_image_is_every_combination_of_writes_and_names_once():
    unsynced = world(
        write(1, b"1"), write(1, b"2", 1), Event("unlink", "gone", node=2), Event("create", "new", node=3), write(3, b"n")
    )
    contents = {b"....", b"1...", b".2..", b"12.."}
    expected = {
        tuple(sorted({"a": a, **gone, **new}.items()))
        for a in contents
        for gone in ({}, {"gone": b"x"})
        for new in ({}, {"new": b""}, {"new": b"n"})
    }
    found = [tuple(sorted(one.items())) for one in every_image(unsynced)]
    assert set(found) == expected
    assert len(found) == 2**5


def test_every_image_of_a_synced_world_is_that_world():
    assert list(every_image(world())) == [{"a": b"....", "gone": b"x"}]


def test_writes_of_one_place_are_left_in_their_order():
    found = {one["a"] for one in every_image(world(write(1, b"old"), write(1, b"new")))}
    assert found == {b"....", b"old.", b"new."}


def test_a_name_that_was_bound_several_times_comes_back_as_any_of_them():
    rebound = world(Event("unlink", "a", node=1), Event("create", "a", node=3), Event("rename", "gone", node=2, other="a"))
    assert {one.get("a") for one in every_image(rebound)} == {b"....", None, b"", b"x"}


def test_too_many_combinations_are_none_and_the_limit_is_itself_allowed():
    eight = [write(1, b"x", place) for place in range(8)]
    assert len(list(every_image(world(*eight)))) == EXHAUSTIVE_MAX == 2**8
    assert list(every_image(world(*eight, write(1, b"x", 8)))) == []


def test_no_file_is_left_in_a_folder_whose_name_is_not():
    made = world(Event("mkdir", "folder", node=DIRECTORY), Event("create", "folder/new", node=3))
    assert {tuple(one) for one in every_image(made)} == {
        ("a", "gone"),
        ("a", "folder", "gone"),
        ("a", "folder", "folder/new", "gone"),
    }


def test_a_failed_syncs_writes_are_there_or_not():
    lost = world(write(1, b"lost"), Event("sync began", node=1, token=1), Event("sync failed", node=1, token=1))
    assert {one["a"] for one in every_image(lost)} == {b"....", b"lost"}


def test_images_are_not_changed_by_what_happens_to_the_world_later():
    made = world(write(1, b"1"))
    kept = list(every_image(made))
    before = [dict(one) for one in kept]
    made.play([write(1, b"2"), Event("sync began", node=1, token=1), Event("sync returned", node=1, token=1)])
    assert kept == before


changes = st.lists(
    st.one_of(
        st.builds(write, st.sampled_from([1, 2]), st.binary(min_size=1, max_size=4), st.integers(0, 6)),
        st.builds(lambda node, size: Event("truncate", node=node, offset=size), st.sampled_from([1, 2]), st.integers(0, 6)),
        st.builds(lambda node: Event("sync began", node=node, token=node), st.sampled_from([1, 2])),
        st.sampled_from(
            [Event("unlink", "a", node=1), Event("create", "new", node=3), Event("rename", "gone", node=2, other="a")]
        ),
    ),
    max_size=6,
)


@settings(max_examples=50)
@given(changes, st.randoms(use_true_random=False))
def test_a_drawn_image_of_small_writes_is_one_of_every_image(events, chance):
    """Writes shorter than a sector are not torn; garbage aside, drawing invents nothing."""
    made = world(*events)
    possible = list(every_image(made))
    wounds = Wounds()
    for keep in Keep:
        drawn = image(made, keep, chance, wounds)
        if not wounds.garbage:
            assert drawn in possible
    assert possible[0] == image(made, Keep.NOTHING, chance)


@given(changes)
def test_with_everything_kept_an_image_is_what_a_process_reads(events):
    made = world(*events)
    assert image(made, Keep.ALL, Random(1)) == {name: bytes(made.node(node).now()) for name, node in sorted(made.names.items())}


def test_what_is_synced_is_in_every_drawn_image():
    made = world(write(1, b"kept"), Event("sync began", node=1, token=1), Event("sync returned", node=1, token=1), write(2, b"y"))
    chance = Random(1)
    drawn = [image(made, Keep.SOME, chance) for _ in range(DRAWS)]
    assert {one["a"] for one in drawn} == {b"kept"}
    assert {b"x", b"y"} <= {one["gone"] for one in drawn}


def test_a_write_of_several_sectors_may_be_torn_between_them_and_is_counted():
    data = b"".join(bytes([number]) * SECTOR for number in (1, 2, 3))
    made = world_of({"a": bytes(3 * SECTOR)})
    made.play([write(1, data)])
    chance, wounds = Random(1), Wounds()
    drawn = {image(made, Keep.SOME, chance, wounds)["a"] for _ in range(4 * DRAWS)}
    torn = {data[: whole * SECTOR] + bytes((3 - whole) * SECTOR) for whole in (1, 2)}
    assert torn <= drawn
    assert {bytes(3 * SECTOR), data} <= drawn
    assert wounds.torn
    assert wounds.garbage
    garbled = drawn - torn - {bytes(3 * SECTOR), data}
    for content in garbled:  # whole sectors, then one of garbage, then what was there before
        whole = next(number for number in range(3) if content[: (number + 1) * SECTOR] != data[: (number + 1) * SECTOR])
        assert content[(whole + 1) * SECTOR :] == bytes((2 - whole) * SECTOR)


def test_garbage_stays_within_the_sectors_of_its_write():
    made = world_of({"a": b"-" * 2_000})
    made.play([write(1, b"x" * 700, 512)])
    chance, wounds = Random(2), Wounds()
    for _ in range(4 * DRAWS):
        content = image(made, Keep.SOME, chance, wounds)["a"]
        assert content[:512] == b"-" * 512
        assert content[512 + 700 :] == b"-" * (2_000 - 512 - 700)
    assert wounds.garbage


def test_the_same_chance_draws_the_same_image():
    made = world(*(write(1, bytes([65 + place]), place) for place in range(20)))
    assert image(made, Keep.SOME, Random(7)) == image(made, Keep.SOME, Random(7))
    assert len({key_of(image(made, Keep.SOME, Random(seed))) for seed in range(50)}) > 5


def test_a_file_with_two_names_has_one_content():
    """A rename of which both names are there: one file, however it was written."""
    made = world(*(write(2, bytes([65 + place]), place) for place in range(20)), Event("rename", "gone", node=2, other="b"))
    chance = Random(1)
    both = [one for one in (image(made, Keep.SOME, chance) for _ in range(DRAWS)) if {"gone", "b"} <= set(one)]
    assert both
    assert all(one["gone"] == one["b"] for one in both)


# -- on a real disk -----------------------------------------------------------------------------------------------------
def test_an_image_is_written_as_it_is_over_whatever_was_there(tmp_path):
    def there():
        return {
            path.relative_to(tmp_path).as_posix(): None if path.is_dir() else path.read_bytes()
            for path in sorted(tmp_path.rglob("*"))
        }

    first = {"a": b"1", "folder": None, "folder/a": b"2", "old": None, "old/deep": None, "old/deep/a": b"3"}
    write_image(first, tmp_path)
    assert there() == first
    second = {"a": b"", "folder": None, "folder/b": b"4"}
    write_image(second | {"a-shm": b"of no process"}, tmp_path)
    assert there() == second


def test_an_images_key_tells_names_contents_and_folders_apart():
    images = [{}, {"a": None}, {"a": b""}, {"a": b"x"}, {"b": b"x"}, {"a": b"", "b": b"x"}, {"a": b"x", "b": b""}, {"a": b"xb"}]
    assert len({key_of(one) for one in images}) == len(images)
    assert key_of({"a": b"x", "a-shm": b"1"}) == key_of({"a": b"x"})
    assert key_of({"lock": b"pid 1"}) == key_of({"lock": b"pid 2"}) != key_of({}), "the host's own number makes no other image"
