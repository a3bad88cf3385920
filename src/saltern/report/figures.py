"""Plots as SVG text that takes the page's colours, so one figure serves light and dark."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saltern.report.coverage import NAMES, coverage_bins

SERIES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8a94a3", "#b39b00")
"""Colours of data, which the colour-blind tell apart too (Okabe and Ito, jfly.uni-koeln.de/color), on white and on
near-black; the last two, a grey and their yellow made darker, are ours."""

INK, MUTED, LINE = "#010203", "#010204", "#010205"
"""Stand-ins that become the page's CSS variables."""

LOOK: dict[Any, Any] = {
    "font.size": 11,
    "text.parse_math": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
"""What figures share, on a page or in a file of their own."""

_STYLE: dict[Any, Any] = {
    **LOOK,
    "svg.fonttype": "none",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "grid.color": LINE,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.fontsize": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 1.8,
}


class Canvas:
    """A figure being drawn; `svg` holds its text after the drawing context is left."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.svg = ""


@contextmanager
def drawing(title: str, salt: str = "", height: float = 3.1) -> Iterator[Canvas]:
    """Draw a figure of the page; its text is there after the context is left.

    `salt` tells figures of one title apart on a page: the names inside an SVG are made from both.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": f"{title} {salt}"}):
        canvas = Canvas(4.7, height)
        canvas.axes.set_title(title)
        yield canvas
        text = StringIO()
        canvas.figure.savefig(text, format="svg", dpi=160, metadata={"Date": None})
        canvas.svg = _themed(text.getvalue(), title)


def _themed(svg: str, title: str) -> str:
    """Matplotlib's SVG without its XML head and metadata, in the page's font and colours, as wide as its place."""
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # they repeat from figure to figure, and nothing refers to them
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for stand_in, variable in ((INK, "--ink"), (MUTED, "--muted"), (LINE, "--line")):
        svg = svg.replace(stand_in, f"var({variable})")
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg, count=2)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title, quote=True)}" ', 1)


@dataclass(frozen=True)
class Point:
    """The chosen threshold and its score, marked on the curve."""

    threshold: float
    score: float


def threshold_curve(curve: Mapping[str, Sequence[float]], names: Sequence[str], chosen: Point) -> str:
    """Every score by threshold, with the chosen threshold marked on the score it was tuned for (`names[0]`)."""
    with drawing("Score by threshold") as canvas:
        axes = canvas.axes
        for index, name in enumerate(names):
            width = 2.4 if index == 0 else 1.2
            axes.plot(curve["threshold"], curve[name], color=color(index), label=name, linewidth=width)
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (1, 3)))
        axes.plot([chosen.threshold], [chosen.score], "o", color=color(0), markersize=9, markeredgecolor=INK)
        place = np.interp(chosen.threshold, [min(curve["threshold"]), max(curve["threshold"])], [0, 1])
        axes.annotate(
            f"{chosen.threshold:g} → {chosen.score:.4f}",
            (chosen.threshold, chosen.score),
            (0, 10),
            textcoords="offset points",
            ha="left" if place < 0.2 else "right" if place > 0.8 else "center",
            fontsize=10,
        )
        axes.margins(y=0.18)
        axes.set_xlabel("threshold")
        canvas.figure.legend(loc="outside lower center", ncols=2)
    return canvas.svg


def score_by_coverage(coverage: NDArray[np.float64], scores: NDArray[np.float64], name: str) -> str:
    """Every image as a dot, spread over its coverage bin, with each bin's mean as a bar's end and its count beneath."""
    bins = coverage_bins(coverage)
    with drawing(f"{name} by coverage") as canvas:
        axes = canvas.axes
        present = np.unique(bins)
        means = [scores[bins == number].mean() for number in present]
        axes.bar(present, means, width=0.78, color=color(0), alpha=0.28)
        spread = np.random.default_rng(0).uniform(-0.32, 0.32, len(scores))
        size = float(np.clip(2500 / len(scores), 2, 14))
        axes.scatter(bins + spread, scores, s=size, color=color(0), alpha=0.45, linewidths=0, rasterized=True)
        for number, mean in zip(present, means, strict=True):
            axes.plot([number - 0.39, number + 0.39], [mean, mean], color=color(1), linewidth=2.4)
        _label_bins(axes, bins)
        axes.set_ylim(-0.04, 1.04)
        axes.grid(axis="x", visible=False)
    return canvas.svg


def _label_bins(axes: Axes, bins: NDArray[np.int64]) -> None:
    counts = [f"{name}\n{np.count_nonzero(bins == number)}" for number, name in enumerate(NAMES)]
    axes.set_xticks(range(len(NAMES)), counts, fontsize=8.5)
    axes.set_xlabel("foreground in the truth, %, and number of images")


def score_histogram(scores: NDArray[np.float64], empty_truth: NDArray[np.bool_], name: str) -> str:
    """How many images have which score; those with an empty truth in a colour of their own."""
    with drawing(f"Images by {name}") as canvas:
        axes = canvas.axes
        edges = np.linspace(-0.05, 1.05, 12)
        axes.hist(
            [scores[~empty_truth], scores[empty_truth]],
            bins=edges.tolist(),
            stacked=True,
            rwidth=0.86,
            color=[color(0), color(1)],
            label=["truth has foreground", "truth is empty"],
        )
        axes.set_xlabel(name)
        axes.set_ylabel("images")
        axes.grid(axis="x", visible=False)
        canvas.figure.legend(loc="outside lower center", ncols=2)
    return canvas.svg


def difference_histogram(differences: NDArray[np.float64], run: str) -> str:
    """How many images gained or lost how much; images without a change are not drawn."""
    changed = differences[differences != 0]
    with drawing("Change per image", salt=run) as canvas:
        axes = canvas.axes
        edges = np.linspace(-1.025, 1.025, 42)
        for index, part in ((2, changed[changed > 0]), (4, changed[changed < 0])):
            axes.hist(part, bins=edges.tolist(), rwidth=0.9, color=color(index))
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_xlabel("change of the score")
        axes.set_ylabel("images")
        axes.grid(axis="x", visible=False)
    return canvas.svg


def difference_by_coverage(coverage: NDArray[np.float64], differences: NDArray[np.float64], run: str) -> str:
    """The mean difference in each coverage bin with twice its standard error, and the number of images."""
    bins = coverage_bins(coverage)
    with drawing("Mean change by coverage", salt=run) as canvas:
        axes = canvas.axes
        for number in np.unique(bins):
            part = differences[bins == number]
            error = 2 * part.std(ddof=1) / np.sqrt(len(part)) if len(part) > 1 else 0.0
            shade = color(2 if part.mean() >= 0 else 4)
            axes.errorbar([number], [part.mean()], yerr=error, fmt="o", color=shade, capsize=3, markersize=6)
        axes.axhline(0, color=MUTED, linewidth=1)
        _label_bins(axes, bins)
        axes.grid(axis="x", visible=False)
    return canvas.svg


def wins_by_coverage(coverage: NDArray[np.float64], differences: NDArray[np.float64], run: str) -> str:
    """In each coverage bin the shares of images that `run` scores higher, alike and lower, and the number of images."""
    bins = coverage_bins(coverage)
    with drawing("Better, equal, worse by coverage", salt=run) as canvas:
        axes = canvas.axes
        present = np.unique(bins)
        bottom = np.zeros(len(present))
        for index, word, chosen in ((2, "better", differences > 0), (6, "equal", differences == 0),
                                    (4, "worse", differences < 0)):  # fmt: skip
            shares = np.array([100 * chosen[bins == number].mean() for number in present])
            alpha = 0.35 if word == "equal" else 1
            axes.bar(present, shares, 0.78, bottom, color=color(index), alpha=alpha, label=word)
            bottom += shares
        _label_bins(axes, bins)
        axes.set_ylabel("% of images")
        axes.grid(axis="x", visible=False)
        canvas.figure.legend(loc="outside lower center", ncols=3)
    return canvas.svg


def intervals(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Mean differences to the baseline with their intervals: (name, mean, low, high), one line each."""
    with drawing("Mean difference, 95 % interval", height=max(1.9, 1.2 + 0.42 * len(rows))) as canvas:
        axes = canvas.axes
        for place, (_, mean, low, high) in enumerate(rows):
            shade = color(2) if low > 0 else color(4) if high < 0 else color(6)
            axes.plot([low, high], [place, place], color=shade, linewidth=3, solid_capstyle="round")
            axes.plot([mean], [place], "o", color=shade, markersize=8)
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
    return canvas.svg


def color(index: int) -> str:
    """The colour of the series `index`; after the last one they begin anew."""
    return SERIES[index % len(SERIES)]
