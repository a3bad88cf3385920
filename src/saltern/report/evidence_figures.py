"""Plots of what the probabilities are worth, and of whether the test images look like the others."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from saltern.inference.decide import Decision
from saltern.metrics.calibration import Reliability
from saltern.report.figures import INK, MUTED, color, drawing

BLUES = LinearSegmentedColormap.from_list("depth", ["#dceaf5", "#56b4e9", "#0072b2", "#01304d"])
"""From low to high: darker in print and for the colour-blind alike."""


def belief(rows: Sequence[tuple[str, float, float, float]], score: str) -> str:
    """Scores from the most flattering to the one to believe: (name, score, low, high), equal where nothing is known."""
    with drawing(f"{score}, step by step", height=0.9 + 0.42 * len(rows)) as canvas:
        axes = canvas.axes
        for place, (name, value, low, high) in enumerate(rows):
            shade = color(0) if name.startswith("forecast") else color(6)
            axes.plot([low, high], [place, place], color=shade, linewidth=5, alpha=0.55, solid_capstyle="round")
            axes.plot([value], [place], "o", color=shade, markersize=8)
            label = f"{low:.4f} to {high:.4f}" if high > low else f"{value:.4f}"
            axes.annotate(label, (high, place), (9, 0), textcoords="offset points", va="center", fontsize=9.5)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        left, right = axes.get_xlim()
        axes.set_xlim(left, right + 0.42 * (right - left))
        axes.locator_params(axis="x", nbins=5)
        axes.grid(axis="y", visible=False)
    return canvas.svg


def threshold_area(
    grid: NDArray[np.float64], thresholds: Sequence[float], areas: Sequence[int], decision: Decision, score: str
) -> str:
    """`grid` (areas, thresholds) of a score as a map; the decision is marked where the map holds it."""
    with drawing("Score by threshold and minimum area") as canvas:
        axes = canvas.axes
        rows = np.arange(len(areas) + 1) - 0.5
        middles = (np.asarray(thresholds[1:]) + np.asarray(thresholds[:-1])) / 2
        wide = [2 * thresholds[0] - middles[0], *middles, 2 * thresholds[-1] - middles[-1]]
        drawn = axes.pcolormesh(wide, rows, grid, cmap=BLUES, rasterized=True)
        bar = canvas.figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, label=score)
        bar.outline.set_visible(False)
        if decision.min_area in areas:
            place = list(areas).index(decision.min_area)
            axes.plot([decision.threshold], [place], "o", color=color(1), markersize=9, markeredgecolor=INK)
        axes.set_yticks(range(len(areas)), [str(area) for area in areas])
        axes.set_xlabel("threshold")
        axes.set_ylabel("minimum area, pixels")
        axes.grid(visible=False)
    return canvas.svg


def reliability(found: Reliability) -> str:
    """How often pixels of a probability are foreground, bin by bin; a larger dot holds more pixels (logarithm)."""
    mean, share = found.curve()
    weight = np.log10(found.pixels[found.pixels > 0] + 1)
    with drawing("Reliability of probabilities") as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        axes.plot(mean, share, color=color(0), linewidth=1.4)
        axes.scatter(mean, share, s=8 + 70 * weight / weight.max(), color=color(0), zorder=3, linewidths=0)
        axes.set_xlabel("predicted probability of a pixel")
        axes.set_ylabel("share that is foreground")
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
    return canvas.svg


def iou_against_dice(iou: NDArray[np.float64], dice: NDArray[np.float64]) -> str:
    """Every image on the curve Dice = 2 IoU / (1 + IoU), and the two means, which do not lie on it."""
    with drawing("IoU against Dice") as canvas:
        axes = canvas.axes
        line = np.linspace(0, 1, 101)
        axes.plot(line, 2 * line / (1 + line), color=MUTED, linewidth=1)
        size = float(np.clip(3000 / len(iou), 4, 22))
        axes.scatter(iou, dice, s=size, color=color(0), alpha=0.4, linewidths=0, rasterized=True, label="image")
        axes.plot([iou.mean()], [dice.mean()], "D", color=color(1), markersize=8, markeredgecolor=INK, label="mean")
        label = f"{iou.mean():.3f}, {dice.mean():.3f}"
        axes.annotate(label, (iou.mean(), dice.mean()), (-8, -16), textcoords="offset points", ha="right", fontsize=10)
        axes.set_xlabel("IoU of an image")
        axes.set_ylabel("Dice of the image")
        canvas.figure.legend(loc="outside lower center", ncols=2)
    return canvas.svg


def drift(labelled: NDArray[np.float64], test: NDArray[np.float64], title: str, unit: str) -> str:
    """How a quantity is spread over labelled and over test images, each as a share of its own kind."""
    with drawing(title) as canvas:
        axes = canvas.axes
        both = np.concatenate([labelled, test])
        low, high = float(both.min()), float(both.max())
        edges = np.linspace(low, high, 25) if high > low else np.array([low - 0.5, low + 0.5])
        for index, (values, name) in enumerate(((labelled, "out of fold"), (test, "test"))):
            weights = np.full(len(values), 100 / len(values))
            kind = {"alpha": 0.35} if index == 0 else {"histtype": "step", "linewidth": 2}
            axes.hist(values, bins=edges.tolist(), weights=weights, color=color(index), label=name, **kind)
        axes.set_xlabel(unit)
        axes.set_ylabel("% of images")
        axes.grid(axis="x", visible=False)
        canvas.figure.legend(loc="outside lower center", ncols=2)
    return canvas.svg
