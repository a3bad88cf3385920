"""Which figures the page of a run holds, and the words beneath them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from saltern.inference.decide import Decision
from saltern.inference.tune import Statistics, counts_at
from saltern.metrics.scores import summarise
from saltern.report import evidence_figures, figures, training_figures
from saltern.report.survey import Survey, TestImages

SCORE_NAMES = ("precision_tgs", "iou_image", "iou_dataset", "dice_image")

AREAS = (0, 5, 10, 20, 35, 50, 75, 100, 150, 200)
"""Minimum areas of the map where the config names none; the decision's is added."""


@dataclass(frozen=True)
class Chapter:
    """Figures with the sentences beneath them."""

    figures: list[Markup]
    notes: list[str]


def belief_figure(scores: Mapping[str, Any]) -> list[Markup]:
    """The scores of `scores.json` from at 0.5 to the forecast, those that it has."""
    name, pooled = scores["tuned_for"], scores["pooled"]
    known = [("at 0.5", pooled["at_0.5"][name]), ("tuned", pooled["at_decision"][name])]
    if scores["nested"] is not None:
        known.append(("nested", scores["nested"]["scores"][name]))
    if scores.get("estimate") is not None:
        known.append(("less selection", scores["estimate"]))
    rows = [(label, value, value, value) for label, value in known]
    forecast = scores.get("forecast")
    for label, part in (("forecast", forecast), ("forecast, public", (forecast or {}).get("public"))):
        if part:
            rows.append((label, part["score"], part["low"], part["high"]))
    return [Markup(evidence_figures.belief(rows, name))]


def training_chapter(
    metrics: Mapping[int, pd.DataFrame], scores: Mapping[str, Any], phases: Mapping[str, str]
) -> Chapter | None:
    """Curves by epoch; None where no fold has any. `phases`: name → what it does, in words."""
    metrics = {fold: table for fold, table in metrics.items() if len(table)}
    if not metrics:
        return None
    present = {name for table in metrics.values() for name in table.columns}
    drawn = []
    best = {int(fold): part["best_epoch"] for fold, part in scores.get("training", {}).items()}
    for name, title in _curves(present).items():
        kept = best if name.startswith("val_") else {}
        drawn.append(training_figures.learning_curve(metrics, name, title, kept))
    if any(name.startswith("loss_") for name in present):
        drawn.insert(1, training_figures.loss_terms(metrics))
    notes = [_phase_text(part, phases) for part in training_figures.phases_of(max(metrics.values(), key=len))]
    if "seconds" in present or "images_per_s" in present:
        notes.append(_speed_text(metrics))
    return Chapter([Markup(svg) for svg in drawn], [note for note in notes if note])


def _curves(present: set[str]) -> dict[str, str]:
    """Column → title, of those that are there; memory under whatever name it was written."""
    memory = {name: name.replace("_", " ").capitalize() for name in sorted(present) if "memory" in name}
    wanted = {
        "loss": "Training loss",
        **{f"val_{name}": f"Validation {name}" for name in SCORE_NAMES},
        "lr": "Learning rate",
        "images_per_s": "Training images per second",
        **memory,
    }
    return {name: title for name, title in wanted.items() if name in present}


def _phase_text(phase: tuple[str, int, int], phases: Mapping[str, str]) -> str:
    name, first, last = phase
    epochs = f"epoch {first}" if first == last else f"epochs {first} to {last}"
    return f"{name}, {epochs}: {phases[name]}." if name in phases else f"{name}: {epochs}."


def _speed_text(metrics: Mapping[int, pd.DataFrame]) -> str:
    rates = pd.concat([table["images_per_s"] for table in metrics.values() if "images_per_s" in table]).dropna()
    memory = [name for table in metrics.values() for name in table.columns if "memory" in str(name)]
    said = "" if memory else " How much memory training took was not recorded."
    if not len(rates):
        return said.strip()
    return f"The network was trained on {rates.median():,.1f} images a second (median over epochs and folds).{said}"


def evidence_chapter(
    found: Survey, scores: Mapping[str, Any], table: pd.DataFrame, column: str, decision: Decision
) -> Chapter:
    """Figures of threshold, area, images and probabilities."""
    name = scores["tuned_for"]
    point = figures.Point(decision.threshold, scores["pooled"]["at_decision"][name])
    names = [name, *(other for other in SCORE_NAMES if other != name)]
    per_image, coverage = table[column].to_numpy(), table["coverage"].to_numpy(dtype=np.float64)
    areas = sorted({*AREAS, decision.min_area})
    grid, thresholds = area_grid(found.statistics, areas, decision, name)
    drawn = [
        figures.threshold_curve(scores["curve"], names, point),
        evidence_figures.threshold_area(grid, thresholds, areas, decision, name),
        evidence_figures.reliability(found.reliability),
        figures.score_by_coverage(coverage, per_image, column),
        figures.score_histogram(per_image, coverage == 0, column),
        evidence_figures.iou_against_dice(table["iou"].to_numpy(), table["dice"].to_numpy()),
    ]
    notes = [
        f"The map holds the decision's gates fixed. {_calibration_text(found)} Of one image Dice = 2 IoU / (1 + IoU), "
        "so both order images alike; their means differ in what a bad image costs."
    ]
    return Chapter([Markup(svg) for svg in drawn], notes)


def area_grid(
    statistics: Statistics, areas: Sequence[int], decision: Decision, score: str
) -> tuple[NDArray[np.float64], list[float]]:
    """(areas, thresholds) of `score` of all images with the gates of `decision`, and the thresholds, 0.2 to 0.8."""
    wanted = [round(0.02 * number, 2) for number in range(10, 41)]
    points = [[replace(decision, threshold=level, min_area=area) for level in wanted] for area in areas]
    rows = [[summarise(counts_at(statistics, point))[score] for point in row] for row in points]
    return np.array(rows), wanted


def _calibration_text(found: Survey) -> str:
    """The expected calibration error in a sentence."""
    error = found.reliability.ece
    return f"Probabilities of pixels are {error:.3f} away from how often they are right, on average over pixels."


def drift_chapter(found: Survey, test: TestImages) -> Chapter:
    """Brightness, contrast, size and predicted masks of test images beside those out of fold."""
    own, other = found.table, test.table
    drawn = [
        evidence_figures.drift(own[column].to_numpy(float), other[column].to_numpy(float), title, unit)
        for column, title, unit in (
            ("brightness", "Brightness", "mean grey value"),
            ("contrast", "Contrast", "standard deviation of grey values"),
            ("pixels", "Size", "side of a square of that size, pixels"),
        )
        if column != "pixels" or own[column].nunique() + other[column].nunique() > 2
    ]
    part = "all" if len(other) == test.of else f"{len(other):,}, evenly chosen, of"
    notes = [
        f"Out of fold {len(own):,} images, of the test {part} {test.of:,}; every kind is drawn as shares of itself."
    ]
    known = other["share"].notna()
    if known.any():
        shares = other["share"][known].to_numpy(float)
        drawn.append(evidence_figures.drift(own["share"].to_numpy(), shares, "Predicted masks", "share of the image"))
        here, there = (own["share"] == 0).mean(), (shares == 0).mean()
        notes.append(
            f"At the decision {100 * here:.1f} % of the masks are empty out of fold, {100 * there:.1f} % in the test."
        )
    else:
        notes.append("No test probabilities are stored, so nothing can be said of the masks of test images.")
    return Chapter([Markup(svg) for svg in drawn], notes)
