"""The picture of a learning-rate range test."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from saltern.files import atomic
from saltern.report.figures import LOOK, SERIES

_STYLE = {**LOOK, "grid.color": "#dddddd"}


def draw_range(path: Path, title: str, curve: Mapping[str, NDArray[np.float64]], marks: Mapping[str, float]) -> None:
    """Write a PNG of `curve` (`lr`, `loss` and `smoothed`), with a vertical line at each of `marks` (name → rate).

    The axis of the loss ends a little above the loss at the start: one that has diverged would flatten the rest.
    """
    rates, losses, smoothed = curve["lr"], curve["loss"], curve["smoothed"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.plot(rates, losses, ".", color=SERIES[6], alpha=0.5, markersize=5, label="loss of a step")
        axes.plot(rates, smoothed, color=SERIES[0], linewidth=1.8, label="smoothed")
        for number, (name, rate) in enumerate(marks.items()):
            axes.axvline(rate, color=SERIES[2 + 2 * number], linewidth=1.4, linestyle="--", label=f"{name}: {rate:.2g}")
        start, lowest = float(np.max(smoothed[: max(1, len(smoothed) // 4)])), float(np.min(losses))
        room = 0.15 * (start - lowest) or 0.1
        axes.set_ylim(lowest - room, start + 3 * room)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))  # the usual one is a formula
        axes.set_xlabel("learning rate")
        axes.set_ylabel("loss")
        axes.legend(loc="lower left")
        held = BytesIO()
        figure.savefig(held, format="png", dpi=140)
    with atomic(path) as temporary:
        temporary.write_bytes(held.getvalue())
