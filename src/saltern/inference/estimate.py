"""What a decision is worth: scores per image, per fold and pooled, and an estimate that never saw its own images."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig
from saltern.inference.decide import NEUTRAL, Decision
from saltern.inference.tune import Statistics, counts_at, tune
from saltern.metrics.ranking import roc_auc
from saltern.metrics.scores import PER_IMAGE, Counts, summarise


def score_table(statistics: Statistics, folds: Mapping[str, int], decision: Decision) -> pd.DataFrame:
    """The content of `oof_scores.csv`: id (text), fold, iou, dice, precision_tgs at `decision`, a row an image.

    Args:
        statistics: of the out-of-fold images, whose order the rows take.
        folds: id → fold, for every image at least.
        decision: its threshold must have been collected.
    """
    return _table(statistics, folds, counts_at(statistics, decision))


def _table(statistics: Statistics, folds: Mapping[str, int], counts: Counts) -> pd.DataFrame:
    columns = {name: score(counts) for name, score in PER_IMAGE.items()}
    return pd.DataFrame({"id": list(statistics.ids), "fold": _folds(statistics, folds), **columns})


def scores_json(
    statistics: Statistics, folds: Mapping[str, int], decision: Decision, config: InferenceConfig
) -> dict[str, Any]:
    """The content of `scores.json`.

    `per_fold` and `pooled` hold every score under `at_0.5` (the neutral decision) and `at_decision`; `nested` is as
    from `nested_estimate`; `curve` holds every score at each candidate threshold, with the minimum area and the gates
    of `decision`. Where presence is stored, `pooled` has `presence_auc`: how well it tells images with foreground from
    those without, as the area under the ROC curve; null where all images are of one kind. As in the scores, an image
    without a valid pixel is one without foreground.
    """
    owners = _folds(statistics, folds)
    per_fold = {str(fold): _both(statistics.take(owners == fold), decision) for fold in np.unique(owners)}
    return {
        "tuned_for": config.tune_for,
        "decision": decision.to_json(),
        "per_fold": per_fold,
        "pooled": {**_both(statistics, decision), **_presence(statistics)},
        "nested": nested_estimate(statistics, folds, config),
        "curve": threshold_curve(statistics, decision, config),
    }


def nested_estimate(statistics: Statistics, folds: Mapping[str, int], config: InferenceConfig) -> dict[str, Any] | None:
    """Scores of decisions tuned without the images they are scored on.

    Each fold is scored at the decision tuned on the other folds; the counts of all are pooled. The difference to the
    pooled score at the one decision is what tuning gained by looking. Where there is one fold only, its two halves
    (by a hash of the id, so the same ones every time) take the place of folds.

    Returns:
        `by` ("fold" or "half"), `scores`, and `parts`: name → images, decision, scores. None for a single image, which
        leaves nothing to tune on.
    """
    found = _nested(statistics, folds, config)
    return None if found is None else found[0]


def nested_table(statistics: Statistics, folds: Mapping[str, int], config: InferenceConfig) -> pd.DataFrame:
    """The content of `oof_nested.csv`: as `score_table`, each image at the decision tuned without it.

    A single image is scored at the neutral decision, which is not tuned at all.
    """
    found = _nested(statistics, folds, config)
    counts = counts_at(statistics, NEUTRAL) if found is None else found[1]
    return _table(statistics, folds, counts)


def _nested(
    statistics: Statistics, folds: Mapping[str, int], config: InferenceConfig
) -> tuple[dict[str, Any], Counts] | None:
    """What `nested_estimate` returns, and the counts (N, 3) that it is made of."""
    if len(statistics.ids) < 2:
        return None
    owners, by = _folds(statistics, folds), "fold"
    if len(np.unique(owners)) == 1:
        owners, by = _halves(statistics.ids), "half"
    counts = np.empty((len(owners), 3), np.int64)
    parts = {}
    for owner in np.unique(owners):
        held_out = owners == owner
        decision = tune(statistics.take(~held_out), config).decision
        counts[held_out] = counts_at(statistics.take(held_out), decision)
        parts[str(owner)] = {
            "images": int(held_out.sum()),
            "decision": decision.to_json(),
            "scores": summarise(counts[held_out]),
        }
    return {"by": by, "scores": summarise(counts), "parts": parts}, counts


def threshold_curve(statistics: Statistics, decision: Decision, config: InferenceConfig) -> dict[str, list[float]]:
    """`threshold` and every score, as columns: the candidates of `config` with `decision`'s minimum area and gates."""
    thresholds = sorted(set(config.thresholds))
    points = [replace(decision, threshold=threshold) for threshold in thresholds]
    rows = [summarise(counts_at(statistics, point)) for point in points]
    return {"threshold": thresholds, **{name: [row[name] for row in rows] for name in rows[0]}}


def _both(statistics: Statistics, decision: Decision) -> dict[str, Any]:
    return {
        "images": len(statistics.ids),
        "at_0.5": summarise(counts_at(statistics, NEUTRAL)),
        "at_decision": summarise(counts_at(statistics, decision)),
    }


def _presence(statistics: Statistics) -> dict[str, float | None]:
    if statistics.presence is None:
        return {}
    return {"presence_auc": roc_auc(statistics.presence, statistics.truth > 0)}


def _folds(statistics: Statistics, folds: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([folds[name] for name in statistics.ids], dtype=np.int64)


def _halves(ids: tuple[str, ...]) -> NDArray[np.int64]:
    """0 or 1 for each id, in equal numbers (up to one), whatever the order of `ids`."""
    order = sorted(range(len(ids)), key=lambda row: hashlib.blake2b(ids[row].encode(), digest_size=8).digest())
    halves = np.empty(len(ids), np.int64)
    halves[order] = np.arange(len(ids)) % 2
    return halves
