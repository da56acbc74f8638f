"""Migration.folder: the numbered files of a package, in order, or a clear refusal when the class is defined."""

import sys
import zipfile

import pytest

from durable_rooms import Actor, Migration
from durable_rooms.testing import open_test_runtime

STEPS = {
    "0001_channels.sql": "CREATE TABLE channels (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "0002_threads.sql": "CREATE TABLE threads (id INTEGER PRIMARY KEY); CREATE INDEX by_name ON channels (name) -- two at once",
}


@pytest.fixture
def package(tmp_path, monkeypatch, request):
    """Makes an importable package of these files; returns its name."""

    def make(files, *, zipped=False):
        name = f"steps_{abs(hash(request.node.name))}"
        contents = {
            "__init__.py": b"",
            **{file: text.encode() if isinstance(text, str) else text for file, text in files.items()},
        }
        if zipped:
            place = tmp_path / "packed.zip"
            with zipfile.ZipFile(place, "w") as archive:
                for file, content in contents.items():
                    archive.writestr(f"{name}/{file}", content)
        else:
            place = tmp_path / "plain"
            (place / name).mkdir(parents=True)
            for file, content in contents.items():
                (place / name / file).write_bytes(content)
        monkeypatch.syspath_prepend(str(place))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return make


@pytest.mark.parametrize("zipped", [False, True], ids=["a folder", "a zip"])
async def test_the_files_of_a_package_are_the_steps_in_order(package, zipped, autojump_clock):
    steps = Migration.folder(package({**STEPS, "notes.txt": "not a step"}, zipped=zipped))
    assert [step.name for step in steps] == list(STEPS)

    class Channel(Actor):
        migrations = steps

        def tables(self) -> list[str]:
            return self.sql(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('channels', 'threads') ORDER BY name"
            ).scalars()

    async with open_test_runtime(Channel) as runtime:
        assert await runtime.room(Channel, "a").tables() == ["channels", "threads"]


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, r"no file there ends in \.sql"),
        ({"0002_threads.sql": "SELECT 1"}, r"0002_threads\.sql should be number 0001"),
        ({**STEPS, "0004_more.sql": "SELECT 1"}, r"0004_more\.sql should be number 0003"),
        ({**STEPS, "0002_again.sql": "SELECT 1"}, r"0002_threads\.sql should be number 0003"),
        ({"1_channels.sql": "SELECT 1"}, r"1_channels\.sql has no number and name"),
        ({"0001.sql": "SELECT 1"}, r"0001\.sql has no number and name"),
        ({"0001_channels.sql": "  \n"}, r"0001_channels\.sql is empty"),
        ({"0001_channels.sql": b"\xff\xfe"}, r"0001_channels\.sql is not UTF-8"),
    ],
)
def test_what_is_no_row_of_steps_is_refused(package, files, why):
    with pytest.raises(ValueError, match=why):
        Migration.folder(package(files))


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        Migration.folder("no_such_package")
