"""One picture of a benchmark that looks at many figures over time: each figure in a panel of its own, above one another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLOUR = "#3b6fb6"
CLOCK = "seconds"


def draw(name: str, series: Mapping[str, Sequence[float]], path: Path, footer: str) -> Path:
    """`series` has the clock under "seconds"."""
    from matplotlib.figure import Figure

    shown = [key for key in series if key != CLOCK]
    figure = Figure(figsize=(10, 0.8 + 1.25 * len(shown)), layout="constrained")
    axes: Any = figure.subplots(len(shown), 1, squeeze=False, sharex=True)
    for axis, key in zip(axes[:, 0], shown, strict=True):
        axis.plot(series[CLOCK], series[key], color=COLOUR, linewidth=1.0)
        axis.set_title(key.replace("_", " "), fontsize=9, loc="left")
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[-1, 0].set_xlabel(CLOCK)
    figure.suptitle(f"{name.replace('_', ' ')} over time", fontsize=14, fontweight="bold")
    figure.supxlabel(footer, fontsize=7, color="#666666")
    figure.savefig(path, dpi=130)
    return path
