"""One picture a benchmark: every case as a bar, its ceiling behind it, what it must reach and what we aim at as marks."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import timeline
from benchmarks.records import Record
from benchmarks.report import number

BAR, CEILING, AT_LEAST, AIM = "#3b6fb6", "#dfe4ea", "#c0392b", "#2e8b57"
SIZES_ON_ONE_AXIS = 8
LEGEND = ("measured", "ceiling", "floor", "at least", "at most", "aim")


def available() -> bool:
    try:
        import matplotlib  # noqa: F401 # pyright: ignore[reportUnusedImport]
    except ImportError:
        return False
    return True


def plot(records: Sequence[Record], directory: Path, footer: str) -> list[Path]:
    """Write `<benchmark>.png` for each benchmark, `<benchmark>-over-time.png` where there is a series; returns the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    directory.mkdir(parents=True, exist_ok=True)
    by_name = {name: list(group) for name, group in groupby(records, key=lambda record: record.benchmark)}
    written = [_picture(name, group, directory / f"{name}.png", footer) for name, group in by_name.items()]
    for record in records:
        if record.series is not None:
            path = directory / f"{record.benchmark}-over-time.png"
            written.append(timeline.draw(record.benchmark, record.series, path, footer))
    return written


def _picture(name: str, records: Sequence[Record], path: Path, footer: str) -> Path:
    from matplotlib.figure import Figure

    panels = _panels(records)
    heights = [len(panel) + 0.9 for panel in panels]
    figure = Figure(figsize=(10, 1.3 + 0.62 * sum(heights)), layout="constrained")
    axes: Any = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis, panel in zip(axes[:, 0], panels, strict=True):
        _panel(axis, panel)
    figure.suptitle(name.replace("_", " "), fontsize=14, fontweight="bold")
    figure.supxlabel(footer, fontsize=7, color="#666666")
    figure.savefig(path, dpi=130)
    return path


def _panels(records: Sequence[Record]) -> list[list[Record]]:
    """Cases that can share an axis: of one unit, and not so different in size that the smaller would vanish."""
    panels: list[list[Record]] = []
    for record in records:
        for panel in panels:
            sizes = [_size(record), _size(panel[0])]
            if panel[0].unit == record.unit and max(sizes) <= SIZES_ON_ONE_AXIS * min(sizes):
                panel.append(record)
                break
        else:
            panels.append([record])
    return panels


def _size(record: Record) -> float:
    return max(record.value, record.ceiling or 0.0)


def _panel(axis: Any, records: Sequence[Record]) -> None:
    """Cases of one unit from top to bottom."""
    top = 0.0
    labels: set[str] = set()

    def once(label: str) -> str | None:
        if label in labels:
            return None
        labels.add(label)
        return label

    for place, record in enumerate(records):
        scale = 1.0 if record.absolute else record.ceiling or 1.0
        beside = "floor" if record.lower_is_better else "ceiling"
        if record.ceiling is not None:
            axis.barh(place, record.ceiling, height=0.62, color=CEILING, label=once(beside))
        axis.barh(place, record.value, height=0.40, color=BAR, label=once("measured"))
        marks = [record.value, record.ceiling or 0.0]
        if record.target is not None:
            word = "at most" if record.lower_is_better else "at least"
            for bound, colour, label in ((record.target.at_least, AT_LEAST, word), (record.target.aim, AIM, "aim")):
                axis.plot([bound * scale] * 2, [place - 0.36, place + 0.36], color=colour, linewidth=2, label=once(label))
                marks.append(bound * scale)
        text = number(record.value) + (f"  ({number(record.ratio)} of the {beside})" if record.ratio is not None else "")
        axis.text(max(marks), place, f"  {text}", va="center", fontsize=9)
        top = max(top, *marks)
    axis.set_yticks(range(len(records)), [record.case for record in records], fontsize=9)
    axis.set_ylim(len(records) - 0.4, -0.6)
    axis.set_xlim(0, top * 1.32 or 1.0)
    axis.xaxis.set_major_formatter(_tick)
    axis.set_xlabel(records[0].unit)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    if len(labels) > 1:
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        order = [label for label in LEGEND if label in handles]
        axis.legend(
            [handles[label] for label in order],
            order,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            ncols=4,
            frameon=False,
            fontsize=8,
        )


def _tick(value: float, _place: int) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.6g}"
