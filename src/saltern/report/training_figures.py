"""Plots of how a run was trained: scores, loss terms and speed by epoch, its phases shaded."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from saltern.report.figures import INK, MUTED, color, drawing


def learning_curve(metrics: Mapping[int, pd.DataFrame], column: str, title: str, best: Mapping[int, int]) -> str:
    """One score by epoch, a line a fold; phases are shaded in turn, a dot marks a fold's `best` epoch."""
    with drawing(title) as canvas:
        axes = canvas.axes
        for index, (fold, table) in enumerate(metrics.items()):
            if column in table:
                marker = "o" if table[column].count() == 1 else None
                axes.plot(table["epoch"], table[column], color=color(index), label=f"fold {fold}", marker=marker)
                kept = table[table["epoch"] == best.get(fold)]
                axes.plot(kept["epoch"], kept[column], "o", color=color(index), markersize=6, markeredgecolor=INK)
        _mark_phases(axes, max(metrics.values(), key=len))
        _epochs(axes, title)
        if len(metrics) > 1:
            canvas.figure.legend(loc="outside lower center", ncols=5)
    return canvas.svg


def loss_terms(metrics: Mapping[int, pd.DataFrame]) -> str:
    """Every term of the loss by epoch (columns `loss_NAME`), a colour a term and a line a fold."""
    names = list(
        dict.fromkeys(
            name for table in metrics.values() for name in map(str, table.columns) if name.startswith("loss_")
        )
    )
    with drawing("Loss terms") as canvas:
        axes = canvas.axes
        for index, name in enumerate(names):
            for number, table in enumerate(table for table in metrics.values() if name in table):
                label = None if number else name.removeprefix("loss_")
                marker = "o" if table[name].count() == 1 else None
                axes.plot(table["epoch"], table[name], color=color(index), label=label, marker=marker, linewidth=1.4)
        _mark_phases(axes, max(metrics.values(), key=len))
        _epochs(axes, "Loss terms")
        canvas.figure.legend(loc="outside lower center", ncols=3)
    return canvas.svg


def _epochs(axes: Axes, title: str) -> None:
    axes.set_title(title, pad=22)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def phases_of(table: pd.DataFrame) -> list[tuple[str, int, int]]:
    """(name, first, last epoch) of every phase of a fold's `metrics.csv`, in order."""
    number = table["phase"].ne(table["phase"].shift()).cumsum()
    return [
        (str(part["phase"].iloc[0]), int(part["epoch"].iloc[0]), int(part["epoch"].iloc[-1]))
        for _, part in table.groupby(number)
    ]


def _mark_phases(axes: Axes, table: pd.DataFrame) -> None:
    left, right = axes.get_xlim()
    phases = phases_of(table)
    for number, (name, first, last) in enumerate(phases):
        start = first - 0.5 if number else left
        if number % 2:
            axes.axvspan(
                start, right if number == len(phases) - 1 else last + 0.5, color=MUTED, alpha=0.12, linewidth=0
            )
        axes.annotate(
            f" {name}",
            (start, 1),
            xycoords=("data", "axes fraction"),
            va="bottom",
            fontsize=9,
            color=MUTED,
            annotation_clip=False,
        )
    axes.set_xlim(left, right)
