"""What choosing the best epoch gained by looking at the images it is then scored on.

Validation noise lifts some epochs above what they are worth, and the best of many was lifted more than most. So the
epoch is chosen on one half of a fold's images and scored on the other, and the reverse, over many random halvings
(cross-fitting; for choices as for estimates see Chernozhukov et al., Econometrics J. 21, 2018). What the chosen epoch
scores on all of its images beyond that is optimism.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.inference.epoch_counts import EpochCounts
from saltern.inference.halves import Labels, clusters_of, random_half
from saltern.metrics.scores import MEAN_OF, PER_IMAGE

HALVINGS = 50
"""Random halvings that are averaged."""

_Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Selection:
    """What choosing its epoch gained a fold."""

    images: int
    optimism: float | None
    """In units of the score; None where it cannot be said, see `note`."""
    note: str = ""
    """Why it is 0 or not known, in words; empty where it was measured."""
    last: float | None = None
    """How far the last epoch scores above the cross-fitted best one; the last one was not chosen. None likewise."""

    def to_json(self) -> dict[str, Any]:
        """Its part of `scores.json`; `note` only where there is one."""
        said = {"images": self.images, "optimism": self.optimism, "last_epoch_above": self.last}
        return {**said, "note": self.note} if self.note else said


def selection_of_fold(
    found: EpochCounts, best_epoch: int, scores: tuple[str, str], groups: Mapping[str, str] | None = None
) -> Selection:
    """What choosing the epoch `best_epoch` (from 1) gained, measured by cross-fitting.

    Args:
        found: the counts of every epoch.
        best_epoch: the epoch whose weights predict.
        scores: the score by which epochs are chosen (`trainer.monitor`), and that whose optimism is asked for
            (`inference.tune_for`), both at threshold 0.5.
        groups: id → group; no halving cuts a group. None: each image is its own.
    """
    images = len(found.ids)
    if not found.is_whole:
        return Selection(images, None, "some epochs were trained by an earlier version, which did not count them")
    if len(found.counts) == 1:
        return Selection(images, 0.0, "there was one epoch, so none was chosen")
    clusters = clusters_of(found.ids, groups)
    if clusters.max() == 0:
        what = "a single image" if images == 1 else "a single group"
        return Selection(images, None, f"{what} has no halves to choose on and to score on")
    crossed = cross_fitted(found.counts, scores, clusters)
    top, bottom = _sums(found.counts, scores[1])
    plain = _ratio(top.sum(axis=1), bottom.sum(axis=1))
    return Selection(images, float(plain[best_epoch - 1]) - crossed, "", float(plain[-1]) - crossed)


def cross_fitted(counts: NDArray[np.integer], scores: tuple[str, str], clusters: Labels) -> float:
    """The mean score of epochs that were chosen without the images they are scored on.

    Args:
        counts: (E, N, 3) tp, fp, fn.
        scores: that to choose by and that to score with; the first epoch with the highest one is chosen.
        clusters: (N,) numbers from 0; two at least.
    """
    by_top, by_bottom = _sums(counts, scores[0])
    top, bottom = _sums(counts, scores[1])
    random, found = np.random.default_rng(0), []
    for _ in range(HALVINGS):
        first = random_half(clusters, random)
        here, there = first.astype(np.float64), (~first).astype(np.float64)
        chosen_here, chosen_there = (int(_ratio(by_top @ half, by_bottom @ half).argmax()) for half in (here, there))
        part = top[chosen_here] @ there + top[chosen_there] @ here
        found.append(_ratio(part, bottom[chosen_here] @ there + bottom[chosen_there] @ here))
    return float(np.mean(found))


def optimism_of(folds: Sequence[Selection]) -> tuple[float | None, str]:
    """That of a run, the mean over its folds weighted by images, and why it is not known where it is not."""
    unknown = [fold.note for fold in folds if fold.optimism is None]
    if unknown or not folds:
        return None, unknown[0] if unknown else "no fold is trained"
    total = sum(fold.images for fold in folds)
    return sum(fold.images * (fold.optimism or 0.0) for fold in folds) / total, ""


def _sums(counts: NDArray[np.integer], score: str) -> tuple[_Sums, _Sums]:
    """(E, N) and (E, N): a score of some images is the sum of the first over the sum of the second."""
    if score in MEAN_OF:
        values = np.stack([PER_IMAGE[MEAN_OF[score]](epoch.astype(np.int64)) for epoch in counts])
        return values, np.ones_like(values)
    assert score == "iou_dataset", score
    return counts[..., 0].astype(np.float64), counts.sum(axis=2).astype(np.float64)


def _ratio(top: Any, bottom: Any) -> _Sums:
    return np.divide(top, bottom, out=np.ones_like(np.asarray(top, np.float64)), where=np.asarray(bottom) > 0)
