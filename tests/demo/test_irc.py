"""The demo reads real logs: what is a line of a chat is posted, all else is counted, and nothing stops it but a bad path."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_rooms.demo.irc import Logs, LogUnfit, find, parse, read
from durable_rooms.demo.line import Line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[18:51] <ann> hello <b> you", Line("message", "ann", "hello <b> you")),
        ("[18:51] <ann>", Line("message", "ann", "")),
        ("[18:51:07] <ann> with seconds", Line("message", "ann", "with seconds")),
        ("[18:51]  * ann waves", Line("action", "ann", "waves")),
        ("=== ann [n=ann@host.example]  has joined #rooms", Line("join", "ann", "rooms")),
        ("=== [ann]  [~a@host]  has joined #rooms", Line("join", "[ann]", "rooms")),
        ('=== ann [n=ann@host]  has left #rooms ["bye"]', Line("part", "ann", 'rooms ["bye"]')),
        ("=== ann has quit [timeout]", Line("part", "ann", "[timeout]")),
        ("=== ann was kicked off #rooms by bob (noise)", Line("part", "ann", "rooms by bob (noise)")),
        ("=== ann is now known as ann_", Line("nick", "ann", "ann_")),
        ("=== mode/#rooms [+o ann]  by bob", Line("mode", "bob", "#rooms [+o ann]")),
        ("=== bob sets mode: +o ann", Line("mode", "bob", ": +o ann")),
    ],
)
def test_messages_actions_and_events_are_read(text: str, line: Line):
    assert parse(text) == line


@pytest.mark.parametrize(
    "text", ["hello", "[18:51]", "[18:51] -x:#rooms- spam", "=== ", "=== ann sighs", "===  has joined #x", "[1851] <a> b"]
)
def test_anything_else_is_a_notice(text: str):
    assert parse(text) is None


@given(st.text())
def test_no_text_is_fatal(text: str):
    for start in ("", "=== ", "[18:51] ", "[18:51] <a> "):
        parse(start + text)


def test_bytes_that_are_not_utf8_are_replaced_and_control_characters_kept(tmp_path: Path):
    log = tmp_path / "a.log"
    log.write_bytes(b"[18:51] <ann> caf\xe9 \x02bold\x00 \xc2\x85 \xe2\x80\xa8 end\r\n\n[18:52] <bob> next\n")
    assert list(read(log)) == [Line("message", "ann", "caf\ufffd \x02bold\x00 \x85 \u2028 end"), Line("message", "bob", "next")]


def test_unreadable_lines_are_counted_and_the_rest_is_posted_in_order(tmp_path: Path):
    (tmp_path / "a.log").write_bytes(b"[18:51] <ann> one\nnoise\n[18:51] <ann> " + b"x" * 300_000 + b"\n[18:52] <ann> two\n")
    logs = Logs([tmp_path])
    assert (logs.lines, logs.skipped, logs.lanes) == (2, 2, 1)
    assert [logs.take(0), logs.take(0), logs.take(0)] == [
        ("a.log", Line("message", "ann", "one")),
        ("a.log", Line("message", "ann", "two")),
        None,
    ]


def test_a_file_is_a_room_and_a_second_one_of_the_same_name_is_another(tmp_path: Path):
    for place in ("a.log", "sub/a.log", "sub/b.txt", "sub/README.md"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("[18:51] <ann> hello\n")
    assert find([tmp_path]) == {"a.log": tmp_path / "a.log", "a.log (2)": tmp_path / "sub/a.log", "b.txt": tmp_path / "sub/b.txt"}
    assert find([tmp_path / "sub/README.md"]) == {"README.md": tmp_path / "sub/README.md"}


def test_a_name_that_is_not_utf8_becomes_a_room_id_that_is(tmp_path: Path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.log"))
    try:
        path.write_text("[18:51] <ann> hello\n")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert list(find([tmp_path])) == ["caf\ufffd.log"]


def test_more_logs_than_lanes_are_all_posted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("durable_rooms.demo.irc.LANES_MAX", 2)
    for name in "abcde":
        (tmp_path / f"{name}.log").write_text("[18:51] <ann> one\n[18:51] <ann> two\n")
    logs = Logs([tmp_path])
    posted = [found for lane in range(logs.lanes) for found in iter(lambda lane=lane: logs.take(lane), None)]
    assert logs.lanes == 2
    assert sorted({room for room, _ in posted}) == [f"{name}.log" for name in "abcde"]
    assert len(posted) == logs.lines == 10


@pytest.mark.parametrize(("make", "why"), [(None, "does not exist"), ("folder", "holds no"), ("noise", "no line of a chat")])
def test_a_path_with_nothing_to_post_is_refused_by_name(tmp_path: Path, make: str | None, why: str):
    path = tmp_path / "here"
    if make == "folder":
        path.mkdir()
    elif make == "noise":
        path.write_text("nothing of the kind\n")
    with pytest.raises(LogUnfit, match=why) as caught:
        Logs([path])
    assert str(path) in str(caught.value)
