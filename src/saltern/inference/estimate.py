"""What a decision is worth: scores per image, per fold and pooled, and an estimate that never saw its own images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig
from saltern.inference.choice import choose
from saltern.inference.decide import NEUTRAL, Decision
from saltern.inference.halves import balanced_halves, clusters_of
from saltern.inference.tune import Statistics, counts_at
from saltern.metrics.ranking import roc_auc
from saltern.metrics.scores import PER_IMAGE, Counts, summarise


@dataclass(frozen=True)
class Nested:
    """Scores of decisions that were chosen without the images they are scored on."""

    by: str
    """What was left out in turn: `fold` or `half`."""
    counts: Counts
    """(N, 3) tp, fp, fn of each image, in the order of the statistics; no row where nothing can be said."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Name of a part → images, decision, scores."""
    reason: str = ""
    """Why there is no such score; empty where there is one."""

    def to_json(self) -> dict[str, Any] | None:
        """`nested` in `scores.json`; None where there is no such score."""
        return None if self.reason else {"by": self.by, "scores": summarise(self.counts), "parts": self.parts}


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
    return pd.DataFrame({"id": list(statistics.ids), "fold": folds_of(statistics, folds), **columns})


def scores_json(
    statistics: Statistics,
    folds: Mapping[str, int],
    decision: Decision,
    config: InferenceConfig,
    nested: Nested | None = None,
) -> dict[str, Any]:
    """The content of `scores.json` that follows from the images alone.

    `per_fold` and `pooled` hold every score under `at_0.5` (the neutral decision) and `at_decision`; `nested` is
    `Nested.to_json`, made here without groups where it is not given; `nested_reason` says why there is none, where
    there is none; `curve` holds every score at each candidate threshold, with the minimum area and the gates
    of `decision`. Where presence is stored, `pooled` has `presence_auc`: how well it tells images with foreground from
    those without, as the area under the ROC curve; null where all images are of one kind. As in the scores, an image
    without a valid pixel is one without foreground.
    """
    owners = folds_of(statistics, folds)
    per_fold = {str(fold): _both(statistics.take(owners == fold), decision) for fold in np.unique(owners)}
    nested = nested or cross_chosen(statistics, folds, config)
    return {
        "tuned_for": config.tune_for,
        "decision": decision.to_json(),
        "per_fold": per_fold,
        "pooled": {**_both(statistics, decision), **_presence(statistics)},
        "nested": nested.to_json(),
        **({"nested_reason": nested.reason} if nested.reason else {}),
        "curve": threshold_curve(statistics, decision, config),
    }


def cross_chosen(
    statistics: Statistics,
    folds: Mapping[str, int],
    config: InferenceConfig,
    groups: Mapping[str, str] | None = None,
) -> Nested:
    """Scores of decisions chosen without the images they are scored on.

    Each fold is scored at the decision chosen (`choose`) on the other folds; the counts of all are pooled. The
    difference to the pooled score at the one decision is what tuning gained by looking. Where there is one fold only,
    two halves take the place of folds, the same ones every time; they never cut a group.

    Args:
        statistics: of the out-of-fold images.
        folds: id → fold, for every image at least.
        config: the grid, and the score to tune for.
        groups: id → group; None: each image is its own.
    """
    owners, by, reason = held_out_in_turn(statistics.ids, folds, groups)
    if reason:
        return Nested(by, np.empty((0, 3), np.int64), reason=reason)
    counts, parts = np.empty((len(owners), 3), np.int64), {}
    for owner in np.unique(owners):
        held_out = owners == owner
        decision = choose(statistics.take(~held_out), config, groups).decision
        counts[held_out] = counts_at(statistics.take(held_out), decision)
        scores = summarise(counts[held_out])
        parts[str(owner)] = {"images": int(held_out.sum()), "decision": decision.to_json(), "scores": scores}
    return Nested(by, counts, parts)


def held_out_in_turn(
    ids: Sequence[str], folds: Mapping[str, int], groups: Mapping[str, str] | None
) -> tuple[NDArray[np.int64], str, str]:
    """(N,) the part of each image, what parts are (`fold` or `half`), and why there are none; empty where there are.

    See `cross_chosen`.
    """
    owners, by, clusters = np.array([folds[name] for name in ids], dtype=np.int64), "fold", clusters_of(ids, groups)
    if len(np.unique(owners)) == 1:
        owners, by = balanced_halves(ids, clusters), "half"
    if len(ids) < 2:
        return owners, by, "a single image leaves nothing to tune on"
    if len(np.unique(owners)) == 1:
        return owners, by, "all images belong to one group, so they have no halves"
    return owners, by, ""


def nested_estimate(
    statistics: Statistics,
    folds: Mapping[str, int],
    config: InferenceConfig,
    groups: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """`cross_chosen` as it stands in `scores.json`; None where it says nothing."""
    return cross_chosen(statistics, folds, config, groups).to_json()


def nested_table(
    statistics: Statistics, folds: Mapping[str, int], config: InferenceConfig, nested: Nested | None = None
) -> pd.DataFrame:
    """The content of `oof_nested.csv`: as `score_table`, each image at the decision chosen without it.

    `nested` is made here without groups where it is not given. Where it says nothing, as of a single image, images are
    scored at the neutral decision, which is not tuned at all.
    """
    nested = nested or cross_chosen(statistics, folds, config)
    return _table(statistics, folds, counts_at(statistics, NEUTRAL) if nested.reason else nested.counts)


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


def folds_of(statistics: Statistics, folds: Mapping[str, int]) -> NDArray[np.int64]:
    """(N,) the fold of each image; `folds`: id → fold."""
    return np.array([folds[name] for name in statistics.ids], dtype=np.int64)
