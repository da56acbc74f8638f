"""`python -m benchmarks [NAME…] [--quick] [--json FILE] [--plot DIR] [--data DIR]`.

Exit code 0: every target of what ran was reached; 1: one was missed, or a benchmark could not run; 2: wrong usage.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import trio

from benchmarks import machine, plots, report
from benchmarks.harness import Bench
from benchmarks.progress import Progress
from benchmarks.records import Record, missed
from benchmarks.registry import BENCHMARKS, paragraph
from benchmarks.rooms_on_disk import sync
from benchmarks.sizes import FULL, QUICK, Size

GOOD, MISSED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    names: list[str] = options.names or list(BENCHMARKS)
    size = QUICK if options.quick else FULL
    machine.raise_descriptor_limit()
    unfit: dict[str, str] = {}
    with data_directory(options.data) as place:
        kind = machine.file_system(place)
        if kind in machine.MEMORY_FILE_SYSTEMS:
            print(
                f"warning: {place.parent} is on {kind}, where a sync costs nothing; choose a disk with --data DIR",
                file=sys.stderr,
            )
        (place / "header").mkdir()
        header = machine.describe(place / "header", size)
        report.print_header(header)
        records = run(names, size, place, Progress(), unfit)
    report.print_records(records)
    report.print_ending(records, {name: paragraph(BENCHMARKS[name], "Not measured:") for name in names})
    for name, why in unfit.items():
        print(f"{name} did not run: {why}", file=sys.stderr)
    if options.json is not None:
        report.write_json(records, options.json)
    if options.plot is not None:
        for path in plots.plot(records, options.plot, f"{header['machine']}; {header['data on']}; {header['settings']}"):
            print(f"wrote {path}")
    return MISSED if unfit or missed(records) else GOOD


def run(names: Sequence[str], size: Size, place: Path, progress: Progress, unfit: dict[str, str]) -> list[Record]:
    """Run benchmarks one after the other, each in an empty directory and an event loop of its own.

    What one leaves behind is made durable before the next begins, and deleted when the last has ended: a syncfs would write it,
    and a disk that discards freed blocks is slow for seconds after a large deletion.
    """
    records: list[Record] = []
    try:
        for name in names:
            own = place / name
            own.mkdir()
            sync(own)
            try:
                records += trio.run(BENCHMARKS[name].run, Bench(size, own, progress))
            except machine.Unfit as error:
                unfit[name] = str(error)
            finally:
                progress.done()
    finally:
        progress.case("deleting", "what was measured")
        for name in names:
            shutil.rmtree(place / name, ignore_errors=True)
        progress.done()
    return records


@contextmanager
def data_directory(parent: Path | None) -> Generator[Path]:
    """A directory that is gone afterwards, in `parent` or where we are (a temporary directory is often memory)."""
    with tempfile.TemporaryDirectory(prefix=".benchmarks-", dir=parent or Path.cwd(), ignore_cleanup_errors=True) as name:
        yield Path(name)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m benchmarks", description="Measure durable-rooms beside what the machine can do.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="everything in about 5 minutes; noisier")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as a JSON list")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="write one PNG a benchmark (needs matplotlib)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="measure on the disk of this directory (default: where you are)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"unknown benchmark {', '.join(map(repr, unknown))}; there are: {', '.join(BENCHMARKS)}")
    options.names = list(dict.fromkeys(options.names))
    if options.data is not None and not options.data.is_dir():
        parser.error(f"--data {options.data}: no such directory")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        parser.error(f"--json {options.json}: no such directory")
    if options.plot is not None and not plots.available():
        parser.error("--plot needs matplotlib: pip install 'durable-rooms[bench]'")
    return options


class Parser(argparse.ArgumentParser):
    """One line and exit code 2 for wrong usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
