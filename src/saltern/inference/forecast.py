"""What a leaderboard will show: the estimate, and how far the score of so many test images may lie from it."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.metrics.clusters import Values
from saltern.metrics.noise import Retrain, mean_interval

ASSUMPTIONS = (
    "the test images come from where the labelled ones come from, and resemble each other as much as these do",
    "the organisers score as Saltern does, with the decision of this run",
    "the networks that predict are as good as those that were validated; the mean of several is often a little better",
)
"""What a forecast takes for granted."""

_KNOWN = Retrain(variance=0.0)
"""No variance of training: the images alone."""


@dataclass(frozen=True)
class Evidence:
    """What is known of the images out of fold."""

    values: Values
    """(N,) per image, at its nested decision; their mean is the nested score."""
    clusters: NDArray[np.int64]
    """(N,) numbers of what belongs together."""
    folds: NDArray[np.int64]
    """(N,) the fold whose network predicted it."""
    retrain: Retrain = field(default_factory=Retrain)
    """What is known of one training's shift of the score: measured by `make seeds`, or the default."""


def forecast(evidence: Evidence, estimate: float, images: int, public: int | None = None) -> dict[str, Any] | None:
    """The score that a test set of `images` images will show, with a 95 % prediction interval.

    Its variance has these parts, of which the first two are those of the estimate itself (`metrics/noise`):

    - `images`: the images out of fold, in clusters, are so many and no more;
    - `folds`, or `seeds` where one fold is trained: each network is one training, another would differ;
    - `test_images`: those of the test are a draw as well. Their mean varies as that of so many images out of fold
        would, clusters included.

    The networks of this run are those that predict, so the part of training is on the careful side: it stands for the
    mean of several that predicts where one alone was validated, or for a training that is done again. The interval is
    Student's, with the degrees of freedom of the images.

    Args:
        evidence: the images out of fold.
        estimate: the score that is believed: nested, less what choosing the epoch gained.
        images: number of test images.
        public: of them, those that a public leaderboard counts; None: not asked for.

    Returns:
        `score`, `low`, `high` (in [0, 1]), `images`, `parts` (variances), and `public`, the same for that part, where
        it is asked for. None where a single image or a single group shows no spread.
    """
    known = mean_interval(evidence.values, evidence.clusters, evidence.folds, retrain=evidence.retrain)
    if not known.said:
        return None
    alone = mean_interval(evidence.values, evidence.clusters, retrain=_KNOWN)
    per_image = max(alone.images * len(evidence.values), float(evidence.values.var(ddof=1)))
    several = len(np.unique(evidence.folds)) > 1
    trained = {"folds": known.retrain if several else 0.0, "seeds": 0.0 if several else known.retrain}
    parts = {"images": known.images, **trained}

    def shown(count: int) -> dict[str, Any]:
        test = per_image / count
        half = (alone.quantile or known.quantile) * math.sqrt(known.se**2 + test)
        bounds = {"low": max(0.0, estimate - half), "high": min(1.0, estimate + half)}
        return {"score": estimate, **bounds, "images": count, "parts": {**parts, "test_images": test}}

    said = shown(images)
    return said if public is None else {**said, "public": shown(public)}
