"""What is told at the end: words for a newcomer, figures for a program."""

import os
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from durable_rooms.demo.run import Outcome
from durable_rooms.verify.words import counted, told

NOTE = (
    "Note: this shows a process crash, not a power cut. The operating system lived on and kept what it had been given. That a "
    "call which has returned also survives a power cut is the library's promise; a demo cannot pull the plug."
)


def figures(outcome: Outcome) -> dict[str, int | float | bool]:
    """The one object of `--json`."""
    ledger, course, findings = outcome.ledger, outcome.course, outcome.findings
    return {
        "rooms": len(ledger.rooms),
        "posted": len(ledger),
        "acked": ledger.acknowledged,
        "unknown": ledger.unknown,
        "found": findings.found,
        "lost": findings.lost,
        "duplicated": findings.duplicated,
        "replica_equal": findings.replica.equal,
        "posts_per_second": round(rate(outcome), 1),
        "p50_ms": round(1000 * ledger.percentile(0.5), 2),
        "p99_ms": round(1000 * ledger.percentile(0.99), 2),
        "lag_p50_ms": round(1000 * course.lag_p50, 2),
        "lag_p99_ms": round(1000 * course.lag_p99, 2),
        "skipped_lines": outcome.feed.skipped,
        "kills": course.kills,
    }


def rate(outcome: Outcome) -> float:
    return outcome.ledger.acknowledged / outcome.course.posting_seconds if outcome.course.posting_seconds else 0.0


def show(console: Console, outcome: Outcome, data: Path, *, kept: bool) -> None:
    console.print()
    story(console, outcome)
    console.print()
    evidence(console, outcome)
    console.print()
    judgement(console, outcome)
    console.print(Text(NOTE, "dim"))
    console.print()
    console.print(next_steps(data, kept=kept, passed=outcome.passed), soft_wrap=True)


def story(console: Console, outcome: Outcome) -> None:
    ledger, course = outcome.ledger, outcome.course
    p50, p99 = (1000 * ledger.percentile(share) for share in (0.5, 0.99))
    lag_p50, lag_p99 = 1000 * course.lag_p50, 1000 * course.lag_p99
    posted = f"{len(ledger):,} lines to {counted(len(ledger.rooms), 'room')} in {course.posting_seconds:.1f} s"
    kill = f"SIGKILL after {course.acknowledged_at_kill:,} acknowledged lines"
    rows = [
        ("posted", f"{posted}: {rate(outcome):,.0f} acknowledged a second"),
        ("calls", f"half of them returned within {p50:.1f} ms, 99 % within {p99:.1f} ms"),
        ("replica", f"half of the changes were in it within {lag_p50:.0f} ms, 99 % within {lag_p99:.0f} ms at the worst moment"),
        ("kill", f"{kill}; a new process took posts {course.away_seconds:.2f} s later"),
    ]
    if outcome.feed.skipped:
        rows.append(("skipped", f"{counted(outcome.feed.skipped, 'input line')} that hold no line of a chat"))
    grid(console, "What happened", [("", label, text) for label, text in rows])


def evidence(console: Console, outcome: Outcome) -> None:
    ledger, findings = outcome.ledger, outcome.findings
    report = findings.replica
    compared = f"{counted(report.rows, 'row')} of {counted(report.rooms, 'room')} compared"
    unknown = f"{ledger.unknown:,} in flight at the kill: {findings.found:,} are there, {findings.absent:,} are not"
    rows = [
        (mark(not findings.lost), "lost", f"{findings.lost:,} of {ledger.acknowledged:,} acknowledged lines"),
        (mark(not findings.duplicated), "duplicated", f"{findings.duplicated:,}"),
        (mark(report.equal), "replica", f"{'equal' if report.equal else 'NOT equal'}: {compared}"),
        ("[dim]·[/]", "unknown", f"{unknown}. Both are right: nobody had been told."),
    ]
    if findings.strange or findings.undone:
        rows.append(
            (mark(False), "strange", f"{findings.strange:,} rows that nobody posted, {findings.undone:,} that were refused")
        )
    if ledger.refused:
        rows.append((mark(False), "refused", f"{ledger.refused:,} calls raised. The first: {ledger.first_refusal}"))
    if report.behind:
        rows.append((mark(False), "behind", f"{counted(len(report.behind), 'room')}; {outcome.course.replica_error}"))
    grid(console, "What the files say, read with Python's own sqlite3", rows)
    for example in (*findings.examples, *map(told, report.differences)):
        console.print(Padding(Text(example, "red"), (0, 0, 0, 4)))


def judgement(console: Console, outcome: Outcome) -> None:
    if outcome.passed:
        text = "Every line that the server had acknowledged is in its room exactly once, and the replica holds the same rows."
        console.print(Text.assemble(("PASSED  ", "bold green"), text))
    else:
        console.print(
            Text.assemble(("FAILED  ", "bold red"), "A promise was broken; ✗ marks which. Please report it, with the data.")
        )


def program() -> str:
    """What to type to run this program again: its name where the shell finds it, else the path it was started by."""
    started = Path(sys.argv[0])
    if shutil.which("durable-rooms"):
        return "durable-rooms"
    return os.path.relpath(started) if started.name == "durable-rooms" else "python -m durable_rooms"


def next_steps(data: Path, *, kept: bool, passed: bool) -> Text:
    if not kept:
        return Text(f"The data was removed. To keep it and look inside:  {program()} demo --data demo-data")
    question = "SELECT room_id, count(*) FROM ChatRoom_messages GROUP BY room_id LIMIT 10"
    lines = [
        f"The data is in {data}{'' if passed else ' (kept, since the demo failed)'}. Look inside:",
        f"  {program()} verify {data}",
        f'  sqlite3 -readonly {data / "replica.db"} "{question}"',
    ]
    return Text("\n".join(lines))


def grid(console: Console, title: str, rows: list[tuple[str, str, str]]) -> None:
    console.print(Text(title, "bold"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(style="dim", no_wrap=True, min_width=10)
    table.add_column()
    for row in rows:
        table.add_row(row[0], row[1], Text(row[2]))
    console.print(Padding(table, (0, 0, 0, 1)), highlight=False)


def mark(good: bool) -> str:
    return "[bold green]✓[/]" if good else "[bold red]✗[/]"
