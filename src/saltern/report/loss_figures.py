"""Plots that set losses side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from saltern.metrics.calibration import Reliability
from saltern.report.coverage import NAMES
from saltern.report.figures import MUTED, SERIES, color, drawing
from saltern.report.loss_table import LossRow

DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)))
"""Of lines, in turn, where there are more losses than colours."""
TALL = 4.2
"""Height of a figure with a legend of many losses, inches."""


def _style(place: int) -> dict[str, Any]:
    return {"color": color(place), "linestyle": DASHES[place // len(SERIES) % len(DASHES)]}


def loss_intervals(rows: Sequence[LossRow], score: str) -> str:
    """The difference of each loss to the baseline with its interval: at the tuned decision, and hollow at 0.5."""
    drawn = [(row.name, row.tuned, row.neutral) for row in rows if row.tuned is not None and row.tuned.interval.said]
    with drawing(f"Difference of {score} to {rows[0].name}", height=1.5 + 0.5 * len(drawn)) as canvas:
        axes = canvas.axes
        for place, (_, tuned, neutral) in enumerate(drawn):
            assert tuned is not None
            assert neutral is not None
            shade = color(2) if tuned.low > 0 else color(4) if tuned.high < 0 else color(6)
            axes.plot([tuned.low, tuned.high], [place - 0.13] * 2, color=shade, linewidth=3.4, solid_capstyle="round")
            axes.plot([tuned.difference], [place - 0.13], "o", color=shade, markersize=8)
            axes.plot([neutral.low, neutral.high], [place + 0.2] * 2, color=MUTED, linewidth=1.2)
            axes.plot([neutral.difference], [place + 0.2], "o", color=MUTED, markersize=5, markerfacecolor="none")
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(drawn)), [name for name, _, _ in drawn])
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.set_xlabel("filled: at tuned decisions; hollow: at 0.5")
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="y", visible=False)
    return canvas.svg


def reliabilities(losses: Mapping[str, Reliability]) -> str:
    """How often pixels of a probability are foreground, a line a loss."""
    with drawing("Reliability of probabilities", height=TALL) as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1)
        for place, (name, found) in enumerate(losses.items()):
            mean, share = found.curve()
            axes.plot(mean, share, **_style(place), linewidth=1.5, marker=".", markersize=4, label=name)
        axes.set_xlabel("predicted probability of a pixel")
        axes.set_ylabel("share that is foreground")
        canvas.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return canvas.svg


def classes(rows: Sequence[LossRow], counts: Mapping[str, int], score: str) -> str:
    """The mean score of each coverage class, a line a loss; `counts`: class → images."""
    with drawing(f"{score} by coverage", height=TALL) as canvas:
        axes = canvas.axes
        present = [name for name in NAMES if name in counts]
        for place, row in enumerate(rows):
            values = [row.classes[name] for name in present]
            axes.plot(
                range(len(present)), values, **_style(place), linewidth=1.3, marker="o", markersize=4, label=row.name
            )
        axes.set_xticks(range(len(present)), [f"{name}\n{counts[name]}" for name in present], fontsize=8.5)
        axes.set_xlabel("foreground in the truth, %, and number of images")
        canvas.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return canvas.svg


def learning(losses: Mapping[str, Sequence[Mapping[int, pd.DataFrame]]], column: str) -> str:
    """A validation score by epoch, the mean over folds and seeds, a line a loss."""
    with drawing(f"{column} by epoch, at 0.5", height=TALL) as canvas:
        axes = canvas.axes
        for place, (name, runs) in enumerate(losses.items()):
            tables = [table for run in runs for table in run.values() if column in table]
            if tables:
                mean = pd.concat(tables).groupby("epoch")[column].mean()
                marker = "o" if len(mean) == 1 else None
                axes.plot(mean.index, np.asarray(mean), **_style(place), linewidth=1.5, label=name, marker=marker)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        canvas.figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return canvas.svg
