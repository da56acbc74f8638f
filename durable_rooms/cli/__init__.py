"""The command line. Its two dependencies, typer and rich, come with the extra `demo`; the library works without them."""

import sys

EXTRAS = ("typer", "rich")


def main() -> None:
    """The console script `durable-rooms`."""
    try:
        from durable_rooms.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRAS:
            raise
        print(f"The command line needs {error.name}, which is not installed: pip install 'durable-rooms[demo]'", file=sys.stderr)
        sys.exit(2)
    sys.exit(run())
