"""The commands and their options. Exit codes: 0 all is well, 1 something is not as promised, 2 bad usage, 130 Ctrl-C."""

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import randrange
from types import FrameType
from typing import Annotated

import typer

from durable_rooms.cli.browse import browse_command
from durable_rooms.cli.call import call_command
from durable_rooms.cli.demo import demo_command
from durable_rooms.cli.doctor import doctor_command
from durable_rooms.cli.dump import dump_command
from durable_rooms.cli.lifecycle import delete_command, load_command
from durable_rooms.cli.migrate import migrate_command
from durable_rooms.cli.recover import recover_command
from durable_rooms.cli.replicas import replicas_command
from durable_rooms.cli.rooms import rooms_command
from durable_rooms.cli.status import status_command
from durable_rooms.cli.verify import Look, verify_command
from durable_rooms.inspect import Selection
from durable_rooms.recovery import Source
from durable_rooms.verify import Level

INTERRUPTED = 130
TERMINATED = 143

ROOMS, USERS, SECONDS = 100, 256, 20.0

app = typer.Typer(
    help="Chat rooms as durable actors: one object and one SQLite file per room, one shared read replica for all of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def run() -> int:
    """Run the command line; returns the exit code."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        app(prog_name="durable-rooms")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM leaves through the same doors as an error, so that no child process and no temporary directory stays behind."""
    sys.exit(TERMINATED)


@contextmanager
def interruptible() -> Generator[None]:
    """Ctrl-C is an answer, not an accident: no traceback, exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@app.callback(invoke_without_command=True)
def root(show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if show_version:
        try:
            print(f"durable-rooms {version('durable-rooms')}")
        except PackageNotFoundError:
            print("durable-rooms, run from its source without being installed")
        raise typer.Exit


LogOption = Annotated[
    list[Path] | None, typer.Option(metavar="PATH", help="Replay this IRC log, or a folder of .log and .txt files. Repeatable.")
]
RoomsOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, max=100_000, help=f"Rooms of the made-up chat; else {ROOMS}.")
]
UsersOption = Annotated[int | None, typer.Option(metavar="N", min=1, max=20_000, help=f"People who post at once; else {USERS}.")]
SecondsOption = Annotated[
    float | None, typer.Option(metavar="S", min=0.2, max=86_400, help=f"How long they post; else {SECONDS:g}.")
]
DataOption = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Work in this new or empty directory and keep it; else in a temporary one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, everything else on stderr.")]


@app.command(short_help="Post a chat, kill the server half-way, check that nothing was lost.")
def demo(
    log: LogOption = None,
    rooms: RoomsOption = None,
    users: UsersOption = None,
    seconds: SecondsOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Post a chat, kill the server half-way, and check from its files that nothing acknowledged was lost.

    Without --log the chat is made up: the same lines in the same order each time.

    Exit code 0: every promise was kept. 1: one was not, or the server died by itself. 2: bad usage. 130: Ctrl-C.
    """
    if log and (rooms or users or seconds):
        raise typer.BadParameter("--rooms, --users and --seconds shape the made-up chat; with --log the logs decide.")
    with interruptible():
        raise typer.Exit(demo_command(log or [], rooms or ROOMS, users or USERS, seconds or SECONDS, data, as_json=as_json))


@app.command(short_help="Compare every room with the replica.")
def verify(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data directory; a process may be running on it.")],
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="The replica, if it is not DATA/replica.db.")] = None,
    level: Annotated[Level, typer.Option(help="How closely: positions only; rows counted; every row.")] = "content",
    sample: Annotated[int | None, typer.Option(metavar="N", min=1, help="Only so many rooms, by chance.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="K", min=0, help="The chance, to look at the same rooms again.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Have the rooms that differ copied again, and look again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every room with the replica, row by row and value by value, and name the first rows that differ.

    Reads only, but for --repair; works beside a running process, which does the copying itself. Where none runs, --repair does
    it, and no process can start meanwhile.

    Exit code 0: equal, or behind while a process is at work on it; or repaired and equal now. 1: not equal. 2: not a data
    directory.
    """
    with interruptible():
        look = Look(data, replica, level, sample, seed if seed is not None else randrange(1_000_000))
        raise typer.Exit(verify_command(look, repairing=repair, as_json=as_json))


PresentArgument = Annotated[Path, typer.Argument(metavar="DATA", help="A data directory; a process may be running on it.")]


@app.command(short_help="List the rooms of a data directory.")
def rooms(
    data: PresentArgument,
    actor: Annotated[str | None, typer.Option(metavar="CLASS", help="Only rooms of this class.")] = None,
    prefix: Annotated[str, typer.Option(metavar="P", help="Only rooms whose id begins so.")] = "",
    after: Annotated[str, typer.Option(metavar="ID", help="Only rooms behind this id, in the order of the list.")] = "",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most so many; else all.")] = None,
    sick: Annotated[bool, typer.Option("--sick", help="Only rooms whose file was found damaged.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line and room, and nothing else.")] = False,
) -> None:
    """List the rooms of a data directory as its catalog has them, by class and id. Opens no room.

    Reads only; works beside a running process. Of a room in memory it tells what was so at its last first write.

    Exit code 0: listed. 2: not a data directory.
    """
    with interruptible():
        selection = Selection(actor=actor, prefix=prefix, after=after, limit=limit, sick=sick)
        raise typer.Exit(rooms_command(data, selection, as_json=as_json))


@app.command(short_help="Say how a data directory and the process on it are doing.")
def status(
    data: PresentArgument,
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="The replica, if the process has it elsewhere.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object; with --watch one a line and second.")] = False,
) -> None:
    """Say how a data directory and the process on it are doing: rooms, replica, WALs, disk, and what needs a person.

    Reads only; works beside a running process, whose figures come from DATA/status.json.

    Exit code 0: all is well. 1: something needs a person; it is told. 2: not a data directory. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(status_command(data, replica, watch=watch, as_json=as_json))


@app.command(short_help="Say how the replicas of a data directory are doing.")
def replicas(
    data: PresentArgument,
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="Only this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list on stdout.")] = False,
) -> None:
    """Say of each replica how far it is, what was applied, copied whole, retried and refused, and what its file holds.

    Reads only. Beside a running process the figures are its own, since its start, from DATA/status.json.

    Exit code 0: all is well. 1: something needs a person; it is told. 2: not a data directory.
    """
    with interruptible():
        raise typer.Exit(replicas_command(data, replica, as_json=as_json))


@app.command(short_help="Say whether this machine and this place can keep promises.")
def doctor(
    data: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="A data directory, or where one shall be.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Look at Python, SQLite, limits, file system, sync latency and an existing data directory; say what each finding means.

    Tries things out in a temporary directory of its own inside DATA, for about 3 seconds; safe beside a running process.

    Exit code 0: no problem. 1: a problem; what to do is told. 2: bad usage. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(doctor_command(data, as_json=as_json))


@app.command(short_help="Look at the replica in a web browser.")
def browse(
    data: PresentArgument,
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="The replica, if the process has it elsewhere.")] = None,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65_535, help="On 127.0.0.1; else any that is free.")] = 0,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in this machine's web browser.")] = False,
) -> None:
    """Show the replica as web pages: its views, filters, facets, some ready questions and your own SQL. Runs Datasette (extra
    `browse`) in a process of its own until Ctrl-C.

    Reads only; works beside a running process. Answers this machine alone, but every user of it.

    Exit code 1: Datasette ended by itself. 2: nothing to look at, no Datasette, or the port is taken. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(browse_command(data, replica, port, open_browser=open_browser))


RoomArgument = Annotated[str, typer.Argument(metavar="ROOM", help="A room, by class and id: ChatRoom/general.")]


@app.command(short_help="Bring back a room whose file is damaged.")
def recover(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data directory; no process may be running on it.")],
    room: RoomArgument,
    source: Annotated[
        Source | None, typer.Option("--from", help="Take rows from the damaged file alone, or from the replica; else from both.")
    ] = None,
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="The replica, if the process had it elsewhere.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a room anew from what its damaged file still says and from the replica; say what came from where and what is missing.

    The damaged file stays in quarantine as it was found. A sound room is left alone.

    Exit code 0: recovered, nothing missing as far as can be known. 1: something is missing, or it could not be recovered; it is
    told. 2: bad usage. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(recover_command(data, room, source, replica, as_json=as_json))


@app.command(short_help="Copy one room into a file, beside a running process.")
def dump(
    data: PresentArgument,
    room: RoomArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy; there must be no file of this name.")],
    as_json: JsonOption = False,
) -> None:
    """Copy one room, as it is at one moment, into a single SQLite file; check it and make it durable.

    Reads only; works beside a running process, whose calls go on meanwhile. Overwrites nothing.

    Exit code 0: copied. 1: the room cannot be read; the reason is told. 2: bad usage. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(dump_command(data, room, file, as_json=as_json))


@app.command(short_help="Make a room from a dump.")
def load(
    data: PresentArgument,
    room: RoomArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `dump` made of this room or another one of its class.")],
    replace: Annotated[bool, typer.Option("--replace", help="Also where the room is there; its data go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a dump and make it a room, durably. After any crash the room is as it was, or as the dump has it.

    Through the process that runs on DATA; if none does, in DATA itself. The dump stays as it is.

    Exit code 0: loaded. 1: refused, or it failed; the reason is told. 2: bad usage. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(load_command(data, room, file, replace=replace, as_json=as_json))


@app.command(short_help="Delete a room for good.")
def delete(
    data: PresentArgument,
    room: RoomArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Ask no questions.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a room: its data, and its rows in every replica. It does not come back; a dump made before can be loaded again.

    Through the process that runs on DATA; if none does, in DATA itself. Files in quarantine stay there.

    Exit code 0: deleted, or there was none. 1: it failed; the reason is told. 2: bad usage, or not confirmed. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(delete_command(data, room, yes=yes, as_json=as_json))


@app.command(short_help="Call a room's handler.")
def call(
    data: PresentArgument,
    room: RoomArgument,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A handler of its class.")],
    values: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="Each as JSON: 42, '\"hello\"', null.")] = None,
    given: Annotated[str | None, typer.Option("--named", metavar="JSON", help="Arguments by name, as an object.")] = None,
    actors: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE[:Class]", help="Where the class is, if no process runs and the catalog does not say."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Call a handler of a room and print what it returned, as JSON, when it is durable.

    Through the process that runs on DATA (its socket is for its own user only); if none does, by opening DATA. Negative
    numbers come after `--`.

    Exit code 0: it returned. 1: it raised or was refused; whether it ran is told. 2: bad usage. 130: Ctrl-C; a call that had
    not begun never runs.
    """
    with interruptible():
        raise typer.Exit(call_command(data, room, method, values or [], given, actors or [], as_json=as_json))


@app.command(short_help="Say how far the rooms are in migrations; migrate them all.")
def migrate(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A data directory; only --sweep needs it for itself.")],
    actors: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE[:Class]", help="Only these classes, else all that the catalog says were run. Repeatable."),
    ] = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Migrate every room that is behind, now.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Migrate copies of a few rooms, elsewhere, and time it.")] = False,
    replica: Annotated[Path | None, typer.Option(metavar="FILE", help="The replica, if the process had it elsewhere.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many rooms are at which version. A room migrates by itself when it is next called; --sweep does it for all.

    A sweep that was interrupted or killed goes on where it was when it is run again. A migration that fails leaves its room as
    it was; the others go on. --dry-run changes nothing and works beside a running process, as does the command alone. Both
    import the classes: a module that is a program must start only under `if __name__ == "__main__":`.

    Exit code 0: told, or every room is at the newest version, or the dry run went well. 1: something failed or is left; it is
    told. 2: bad usage. 130: Ctrl-C.
    """
    with interruptible():
        raise typer.Exit(migrate_command(data, actors or [], replica, sweeping=sweep, rehearsing=dry_run, as_json=as_json))


@app.command(short_help="Cut the power of a simulated world, thousands of times.")
def simulate(
    scenario: Annotated[str | None, typer.Argument(metavar="[MODULE:SCENARIO]", help="Your own scenario; else a chat.")] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, max=10_000_000, help="So many worlds.")] = 100,
    first_seed: Annotated[int, typer.Option(metavar="K", min=0, help="The number of the first.")] = 1,
    processes: Annotated[int | None, typer.Option(metavar="N", min=1, max=256, help="At once; else one a processor.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="JSON", help="Replay this plan: a shorter failing case prints it.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run actor classes in a simulated world where the power fails, disks lie and callers leave, and check every promise.

    A seed decides everything: the same one gives the same trace on every machine. Exit code 0: every promise was kept. 1: one was
    not; the seed, what went wrong, a shorter case and the command that replays it are told. 2: bad usage. 130: Ctrl-C.
    """
    from durable_rooms.cli.simulate import simulate_command  # it brings trio.testing, and that pytest: 0.17 s of any command

    with interruptible():
        raise typer.Exit(simulate_command(scenario, seeds, first_seed, processes, plan, as_json=as_json))
