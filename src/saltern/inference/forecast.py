"""What a leaderboard will show: the estimate, and how far the score of so many test images may lie from it.

`benchmarks/honesty.py` proves it: 19 of 20 forecasts hold, of the whole test and of its public part.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.metrics.clusters import Values, cluster_variance, third_moment
from saltern.metrics.intervals import interval_of
from saltern.metrics.noise import Retrain, learned, mean_interval

ASSUMPTIONS = (
    "the test images come from where the labelled ones come from, and resemble each other as much as these do",
    "the organisers score as Saltern does, with the decision of this run",
    "the networks that predict are those that were validated; the mean of several is often a little better, and "
    "networks that are trained again (the wider range) differ by chance",
    "the public part is drawn at random from the test images",
)
"""What a forecast takes for granted."""


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

    The variance of the test score around the estimate has these parts:

    - `images`: the images out of fold, in clusters, are so many and no more;
    - `test_images`: those of the test are a draw as well. Their mean varies as that of so many images out of fold
        would, clusters included; a public part is a random draw from them, without replacement, and so cuts clusters;
    - `folds`, or `seeds` where one fold is trained: what networks trained again would differ by. It is 0 for the
        networks of the run, since those that predict are those that were validated, and so share their luck. In
        `again` it counts twice, since both trainings were one draw (`metrics/noise`).

    The first two have the degrees of freedom of the images, the third those of what is known of training. The interval
    leans as the images do: see `_lean`.

    Args:
        evidence: the images out of fold.
        estimate: the score that is believed: nested, less what choosing the epoch gained.
        images: number of test images.
        public: of them, those that a public leaderboard counts; None: not asked for.

    Returns:
        `score`, `low`, `high` (in [0, 1]), `images`, `parts` (variances), `again` (`low`, `high` and `parts` if the
        recipe were trained again), and `public`, the same for that part, where it is asked for. None where nothing
        shows the spread: a single image, a single group, or images that all score the same.
    """
    if evidence.clusters.min() == evidence.clusters.max() or evidence.values.min() == evidence.values.max():
        return None
    mean = _mean_of(evidence)
    whole = _whole(evidence, mean, images)
    said = _said(mean, estimate, whole)
    return said if public is None else {**said, "public": _said(mean, estimate, _part(evidence, whole, public))}


@dataclass(frozen=True)
class _Mean:
    """The mean of the images out of fold."""

    variance: float
    df: float
    third: float
    """Third central moment."""
    trained: str
    """The name of the part that training makes."""
    retrain: tuple[float, float]
    """That part: variance, degrees of freedom."""


@dataclass(frozen=True)
class _Draw:
    """Images that are to come: how many, and the variance and third central moment of their mean."""

    images: int
    variance: float
    third: float


def _mean_of(evidence: Evidence) -> _Mean:
    interval = mean_interval(evidence.values, evidence.clusters, evidence.folds, retrain=evidence.retrain)
    known = learned(evidence.values, evidence.clusters, evidence.folds, retrain=evidence.retrain)
    trained = "seeds" if evidence.folds.min() == evidence.folds.max() else "folds"
    variance, df = cluster_variance(evidence.values, evidence.clusters)
    return _Mean(variance, df, interval.third, trained, (interval.retrain, known.df))


def _whole(evidence: Evidence, mean: _Mean, images: int) -> _Draw:
    """A test of clusters like those out of fold."""
    count = len(evidence.values)
    variance = max(mean.variance * count, float(evidence.values.var(ddof=1)))
    return _Draw(images, variance / images, mean.third * (count / images) ** 2)


def _part(evidence: Evidence, whole: _Draw, images: int) -> _Draw:
    """So many of `whole`, drawn at random without replacement (Cochran, Sampling Techniques, 1977, section 2.6)."""
    values, count = evidence.values, len(evidence.values)
    variance = whole.variance + float(values.var(ddof=1)) * (1 / images - 1 / whole.images)
    third = third_moment(values, np.arange(count)) * count**2 * (1 / images**2 - 1 / whole.images**2)
    return _Draw(images, variance, whole.third + third)


def _said(mean: _Mean, estimate: float, draw: _Draw) -> dict[str, Any]:
    found = {}
    for times in (0, 2):
        parts = {"images": mean.variance, "folds": 0.0, "seeds": 0.0, "test_images": draw.variance}
        parts[mean.trained] = times * mean.retrain[0]
        both = [(mean.variance + draw.variance, mean.df), (parts[mean.trained], mean.retrain[1])]
        even = interval_of(estimate, both)
        lean = _lean(mean.third, draw.third, draw.variance / mean.variance, even.quantile)
        bent = interval_of(estimate, both, third=lean)
        found[times] = {"low": max(0.0, bent.low), "high": min(1.0, bent.high), "parts": parts}
    return {"score": estimate, "images": draw.images, **found[0], "again": found[2]}


def _lean(third: float, to_come: float, ratio: float, quantile: float) -> float:
    """The third moment that makes Hall's transformation, which is for one mean, right for two of which one is to come.

    With x the quantile, k the skewness of the difference, c its covariance with the relative error of the estimated
    variance (which the images out of fold alone give), the Edgeworth term of the studentised difference is
    c / 2 + (3 c - k) (x² - 1) / 6 (Hall, The Bootstrap and Edgeworth Expansion, 1992, section 2.3); that of one mean,
    where both are the skewness g, is g (2 x² + 1) / 6. Solved for g, in units of a third moment.

    Args:
        third: third central moment of the mean out of fold.
        to_come: that of the mean of the images to come.
        ratio: the variance of the second mean over that of the first.
        quantile: of the interval.
    """
    square = quantile**2
    return (3 * square * third * (1 + ratio) - (square - 1) * (third - to_come)) / (2 * square + 1)
