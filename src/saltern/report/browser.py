"""What the browser of images is given: a column for each fact of an image, and words for what they mean."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from saltern.inference.decide import Decision
from saltern.inference.tune import Statistics, counts_at
from saltern.metrics.scores import summarise
from saltern.report.coverage import NAMES, coverage_bins
from saltern.report.decisions import shape_words
from saltern.report.mistakes import KINDS
from saltern.report.survey import Beside, Survey
from saltern.report.tiles import CHUNK, TileWriter, script_json

MEANINGS = {
    "right": "No valid pixel is wrong.",
    "false alarm": "The truth is empty, the mask is not.",
    "missed": "The truth has foreground, and the mask hits none of it.",
    "boundary": "The mask hits the truth, and at least half of the wrong pixels lie within 2 % of the diagonal of its "
    "border.",
    "region": "The mask hits the truth, and more than half of the wrong pixels lie further from its border.",
}
assert tuple(MEANINGS) == KINDS

MOST_GROUPS = 60
"""More would be too long a list to choose from; they are found by sorting."""


def browser_of(
    found: Survey, table: pd.DataFrame, decision: Decision, scores: Mapping[str, Any], column: str, beside: Beside,
    writer: TileWriter,
) -> dict[str, Any]:  # fmt: skip
    """The `browser` of `templates/browser.html`.

    Args:
        found: by the pass over the images.
        table: `oof_scores.csv` with coverage, in the same order.
        decision: the one in force, with which masks are drawn.
        scores: `scores.json`.
        column: of the table, the score that images are sorted by.
        beside: groups and members.
        writer: has the tiles.
    """
    groups = [beside.groups.get(name, "") for name in table["id"]]
    known = sorted({name for name in groups if name})
    side = writer.files[0].parent.name if writer.files else ""
    data = {
        "key": writer.key,
        "side": side,
        "chunk": CHUNK,
        "levels": _exact(found.statistics.thresholds),
        "start": found.statistics.column(decision.threshold),
        "tuned": found.statistics.column(scores["decision"]["threshold"]),
        "exact": decision.to_json() == scores["decision"],
        "decision": decision.to_json(),
        "score": column,
        "tuned_for": scores["tuned_for"],
        "curve": pooled_curve(found.statistics, decision, scores["tuned_for"]),
        "kinds": list(KINDS),
        "columns": _columns(found, table, groups if known else None),
    }
    return {
        "data": Markup(script_json(data)),
        "chunks": [Markup(chunk) for chunk in writer.chunks],
        "side": side,
        "images": len(table),
        "score": column,
        "tuned_for": scores["tuned_for"],
        "meanings": list(MEANINGS.items()),
        "orders": _orders(column, data["columns"]),
        "classes": [(number, name if number == 0 else f"{name} %") for number, name in enumerate(NAMES)],
        "folds": [(fold, f"fold {fold}") for fold in sorted(set(table["fold"]))],
        "groups": [(name, name) for name in known] if len(known) <= MOST_GROUPS else [],
        "void": bool(found.void),
        "rules": _rules(decision, found, exact=data["exact"]),
        "disagreement": _disagreement_text(beside),
    }


def page_key(table: pd.DataFrame, decision: Decision) -> str:
    """What a page and its side files know each other by: of the scores and the decision."""
    text = table.to_csv(index=False) + repr(decision)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def pooled_curve(statistics: Statistics, decision: Decision, score: str) -> list[float]:
    """`score` of all images at every level, with the minimum area and the gates of `decision`."""
    points = [replace(decision, threshold=float(level)) for level in statistics.thresholds]
    return [round(summarise(counts_at(statistics, point))[score], 6) for point in points]


def _columns(found: Survey, table: pd.DataFrame, groups: list[str] | None) -> dict[str, Any]:
    surveyed = found.table
    columns: dict[str, Any] = {
        "id": table["id"].tolist(),
        "fold": table["fold"].tolist(),
        "group": groups,
        "bin": coverage_bins(table["coverage"].to_numpy(dtype=np.float64)).tolist(),
        "kind": [KINDS.index(kind) for kind in surveyed["kind"]],
        "peak": _exact(found.statistics.peak),
        "presence": None if found.statistics.presence is None else _exact(found.statistics.presence),
        "disagreement": None,
    }
    for name in ("iou", "dice", "precision_tgs", "coverage"):
        columns[name] = table[name].round(6).tolist()
    for name in ("share", "doubt", *(["disagreement"] if "disagreement" in surveyed else [])):
        columns[name] = surveyed[name].round(6).tolist()
    return columns | {name: surveyed[name].tolist() for name in ("width", "height", "step")}


def _exact(values: np.ndarray) -> list[float]:
    """float32 as the shortest decimals that mean the same in float32: gates compare exactly."""
    return [float(str(value)) for value in values.astype(np.float32)]


def _orders(column: str, columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    scores = [column, *(name for name in ("iou", "dice") if name != column)]
    words = {"coverage": "coverage", "kind": "kind of error", "share": "size of the mask", "doubt": "doubt",
             "disagreement": "disagreement", "presence": "presence", "fold": "fold", "group": "group",
             "id": "id"}  # fmt: skip
    return [(name, name) for name in scores] + [
        (name, word) for name, word in words.items() if columns.get(name) is not None
    ]


def _rules(decision: Decision, found: Survey, *, exact: bool) -> str:
    applied = []
    if decision.min_area > 1:
        applied.append(f"the minimum area of {decision.min_area} pixels")
    if decision.empty_gate > 0:
        applied.append(f"the empty gate of {decision.empty_gate:g}")
    if decision.presence_gate:
        applied.append(f"the presence gate of {decision.presence_gate:g}")
    also = (
        f"Of the decision, {' and '.join(applied)} {'applies' if len(applied) == 1 else 'apply'} at every position."
        if applied
        else "Neither a minimum area nor a gate is part of the decision."
    )
    shrunk = int((found.table["step"] > 1).sum())
    parts = [
        "At the decision the scores are those of oof_scores.csv."
        if exact
        else "The decision was set by hand: scores are made in the page from the maps, also where the slider begins.",
        "Where the slider moves, the page makes masks and scores anew from stored probabilities: at every position "
        "exactly the pixels whose probability is greater.",
        also,
        "Void pixels are not scored, but count for the minimum area; an empty mask of an empty truth scores 1.",
        "Filters and order go by oof_scores.csv, kinds of error by the decision, wherever the slider stands.",
    ]
    if words := shape_words(decision.shape):
        parts.append(
            f"That {' and '.join(words)} is in the scores at the decision and in the curve above; the masks that the "
            "page draws, and scores of single images where the slider moves, are without."
        )
    if shrunk:
        parts.append(
            f"{shrunk:,} images are shown smaller than they are: away from the decision their scores come from every "
            "second pixel or fewer, marked ≈, and the minimum area is scaled."
        )
    return " ".join(parts)


def _disagreement_text(beside: Beside) -> str:
    if beside.members is not None:
        return (
            "1 - (pixels that every member of the ensemble calls foreground) / (pixels that at least one does), at the "
            "threshold of the decision, before minimum area and gates; 0 where nobody does."
        )
    return beside.members_note or (
        "Not known: an image is predicted out of fold by the networks of its own fold alone, and of these (and of "
        "their views) only the mean is stored. An ensemble of runs shows how far its members are apart."
    )
