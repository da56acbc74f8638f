"""The report: a table on a terminal, plain lines elsewhere, JSON on demand."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from benchmarks.records import Record, missed

COLUMNS = ("benchmark", "case", "value", "unit", "ceiling", "ratio", "at least", "aim", "verdict")
NUMBERS = ("value", "ceiling", "ratio", "at least", "aim")
COLOURS = {"reached aim": "green", "reached": "yellow", "missed": "red"}


def number(value: float | None) -> str:
    """Three figures or more, no false precision; "" for nothing."""
    if value is None:
        return ""
    for bound, text in ((100, f"{value:,.0f}"), (10, f"{value:.1f}"), (0.1, f"{value:.2f}")):
        if abs(value) >= bound:
            return text
    return f"{value:.3f}"


def cells(record: Record) -> tuple[str, ...]:
    target = record.target
    sign = "≤ " if record.lower_is_better and target else ""
    return (
        record.benchmark,
        record.case,
        number(record.value),
        record.unit,
        number(record.ceiling),
        number(record.ratio),
        f"{sign}{target.at_least:g}" if target else "",
        f"{sign}{target.aim:g}" if target else "",
        record.verdict,
    )


def print_header(header: Mapping[str, Any], out: TextIO | None = None) -> None:
    for name, text in header.items():
        print(f"{name + ':':<14}{text}", file=out)


def print_records(records: Sequence[Record], out: TextIO | None = None) -> None:
    target: TextIO = sys.stdout if out is None else out
    if target.isatty():
        try:
            _rich(records)
            return
        except ImportError:
            pass
    _plain(records, target)


def print_ending(records: Sequence[Record], left_out: Mapping[str, str], out: TextIO | None = None) -> None:
    """What was seen besides, what was not measured, and the verdict of all."""
    seen = [record for record in records if record.note]
    if seen:
        print("\nSeen besides", file=out)
        for record in seen:
            print(f"  {record.benchmark}, {record.case}: {record.note}", file=out)
    print("\nNot measured", file=out)
    for name, text in left_out.items():
        print(f"  {name}: {text.removeprefix('Not measured: ')}", file=out)
    print(f"\n{verdict(records)}", file=out)


def verdict(records: Iterable[Record]) -> str:
    judged = [record for record in records if record.target is not None]
    if not judged:
        return "Nothing here has a target."
    bad = missed(judged)
    aims = sum(record.verdict == "reached aim" for record in judged)
    text = f"{len(judged) - len(bad)} of {len(judged)} targets reached, {aims} of them with their aim."
    if bad:
        text += " Missed: " + "; ".join(f"{record.benchmark} ({record.case})" for record in bad) + "."
    return text


def write_json(records: Iterable[Record], path: Path) -> None:
    path.write_text(json.dumps([record.as_json() for record in records], indent=2) + "\n", encoding="utf-8")


def _plain(records: Sequence[Record], out: TextIO) -> None:
    rows = [COLUMNS, *(cells(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    numeric = {COLUMNS.index(name) for name in NUMBERS}
    print(file=out)
    for row in rows:
        texts = [
            text.rjust(width) if at in numeric else text.ljust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(texts).rstrip(), file=out)


def _rich(records: Sequence[Record]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    widest = (
        [max(len(cells(record)[column]) for record in records) for column in range(len(COLUMNS))]
        if records
        else [0] * len(COLUMNS)
    )
    for name, width in zip(COLUMNS, widest, strict=True):
        if name in NUMBERS:
            table.add_column(name, justify="right", min_width=width)
        else:
            table.add_column(name, overflow="fold", min_width=7)
    for record in records:
        *texts, word = cells(record)
        table.add_row(*(Text(text) for text in texts), Text(word, style=COLOURS.get(word, "")))
    Console().print(table)
