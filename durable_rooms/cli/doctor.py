"""`durable-rooms doctor`: findings as they come, then the verdict."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from durable_rooms.doctor import Finding, Verdict, examine
from durable_rooms.verify.words import counted, shown

WELL, PROBLEM, WRONG = 0, 1, 2

STYLES: dict[Verdict, str] = {"ok": "green", "notice": "bold yellow", "problem": "bold red"}


def doctor_command(data: Path | None, *, as_json: bool) -> int:
    """Returns the exit code."""
    if data is not None and data.exists() and not data.is_dir():
        print(f"durable-rooms doctor: {data} is a file; a directory is wanted.", file=sys.stderr)
        return WRONG
    console = Console(highlight=False)
    found: list[Finding] = []
    for finding in examine(data.absolute() if data is not None else None):
        found.append(finding)
        if not as_json:
            console.print(drawn(finding))
    problems = sum(finding.verdict == "problem" for finding in found)
    if as_json:
        print(json.dumps({"data": None if data is None else str(data), "problems": problems, "findings": [*map(asdict, found)]}))
    else:
        console.print(Text(summary(found, problems), STYLES["problem"] if problems else STYLES["ok"]))
    return PROBLEM if problems else WELL


def drawn(finding: Finding) -> Table:
    """Verdict, name and value; below them the meaning, and what to do."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=len("problem"))
    table.add_column(overflow="fold")
    table.add_row(
        Text(finding.verdict, STYLES[finding.verdict]), Text.assemble((finding.name, "bold"), f": {shown(finding.value)}")
    )
    table.add_row("", Text(shown(finding.meaning), "dim"))
    if finding.remedy:
        table.add_row("", Text(f"→ {shown(finding.remedy)}"))
    return table


def summary(found: list[Finding], problems: int) -> str:
    notices = sum(finding.verdict == "notice" for finding in found)
    troubles = counted(problems, "problem") if problems else "No problem"
    return f"\n{troubles}, {counted(notices, 'notice')} in {counted(len(found), 'finding')}."
