"""Runs against a baseline: one statement each, about the mean difference of their scores of the same images.

Scores are those of decisions that were tuned without the image they score. How far a difference may be chance says the
noise model (`saltern.metrics.noise`): images in clusters, and what training again would change. Of several runs each
gets a wider interval (Bonferroni: the level of one is 1 - 0.05 / runs), so that all hold together 95 times of 100.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from saltern.metrics.intervals import Interval
from saltern.metrics.noise import Retrain, Values, mean_interval, seeds_needed

LEVEL = 0.95
"""Of all intervals of a comparison together."""
SIZES = (0.005, 0.01, 0.02)
"""Differences for which it is said how many seeds they take."""


@dataclass(frozen=True)
class Scored:
    """What a run scored, image by image."""

    scores: Values
    """(N,) the mean over the run's trainings, in the order of the ids that are compared."""
    seeds: int = 1
    """Trainings with different seeds whose mean that is."""


@dataclass(frozen=True)
class Ground:
    """What the runs of a comparison stand on together; arrays are (N,), one entry an image."""

    folds: np.ndarray
    """The fold of each image in the baseline."""
    clusters: np.ndarray | None = None
    """Labels of images that belong together; None: each is its own."""
    retrain: Retrain = field(default_factory=Retrain)
    """What is known of one training's shift on these data."""

    @property
    def share(self) -> float:
        """Sum of the squared shares of the folds: what is left of one network's variance in the mean over all."""
        counts = np.unique(self.folds, return_counts=True)[1]
        return float(np.square(counts / counts.sum()).sum())

    @property
    def apart(self) -> float:
        """Two trainings of one recipe, all folds with one seed each, differ by less than this, 95 times of 100."""
        return float(stats.t.ppf(0.975, self.retrain.df)) * math.sqrt(2 * self.retrain.variance * self.share)


@dataclass(frozen=True)
class Comparison:
    """A run against the baseline over the same images; differences are run minus baseline."""

    run: str
    baseline: str
    score: str
    images: int
    mean: float
    baseline_mean: float
    interval: Interval
    """Of the mean difference, for new images and new trainings."""
    wins: int
    """Images with a higher score than in the baseline."""
    ties: int
    losses: int
    same_folds: bool
    """Whether every image lay in the same fold in both runs."""
    seeds: tuple[int, int]
    """Trainings of the run and of the baseline that the means are over."""
    needed: dict[float, int | None]
    """Size of a true difference → seeds of each run that would show it; None where these images never do."""

    @property
    def difference(self) -> float:
        """Mean of the run minus mean of the baseline."""
        return self.interval.mean

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.interval.low

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.interval.high

    @property
    def excluded(self) -> float:
        """A true difference beyond this, either way, does not fit what was seen."""
        return max(abs(self.low), abs(self.high))

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        if not self.interval.said:
            return "cannot be said"
        if self.low <= 0 <= self.high:
            return "cannot be told apart"
        return "higher" if self.low > 0 else "lower"

    @property
    def verdict(self) -> str:
        """The statistics in a sentence."""
        if not self.interval.said:
            why = "there is a single image" if self.images == 1 else "all images belong to one group"
            return f"Whether {self.run} and {self.baseline} differ cannot be said: {why}, so nothing shows the spread."
        span = f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        if self.low <= 0 <= self.high:
            return (
                f"{self.run} and {self.baseline} cannot be told apart ({span}); a difference beyond "
                f"± {self.excluded:.4f} can be excluded."
            )
        return f"{self.run} scores {self.word} than {self.baseline}, by {abs(self.difference):.4f} ({span})."


def differences(before: Values, after: Values) -> Values:
    """`after` minus `before`, image by image, (N,); rounded to nine digits, so that equal scores give 0."""
    return np.round(np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64), 9)


def compare(
    score: str, runs: Mapping[str, Scored], ground: Ground, same_folds: Mapping[str, bool] | None = None
) -> list[Comparison]:
    """Each run against the first.

    Args:
        score: the name of what is compared.
        runs: run → its scores; two or more, the first is the baseline. All over the same images in the same order.
        ground: folds, clusters and what is known of trainings.
        same_folds: run → whether it divides the images as the baseline does; all do where it is None.
    """
    (baseline, first), *others = runs.items()
    assert others, "nothing to compare"
    level = 1 - (1 - LEVEL) / len(others)
    found = []
    for name, other in others:
        change = differences(first.scores, other.scores)
        retrain = ground.retrain.over(other.seeds).plus(ground.retrain.over(first.seeds))
        interval = mean_interval(change, ground.clusters, ground.folds, level=level, retrain=retrain, lean=False)
        once = 2 * ground.retrain.variance * ground.share
        wins, losses = int((change > 0).sum()), int((change < 0).sum())
        found.append(
            Comparison(
                run=name,
                baseline=baseline,
                score=score,
                images=len(change),
                mean=float(other.scores.mean()),
                baseline_mean=float(first.scores.mean()),
                interval=interval,
                wins=wins,
                ties=len(change) - wins - losses,
                losses=losses,
                same_folds=same_folds is None or same_folds[name],
                seeds=(other.seeds, first.seeds),
                needed={size: seeds_needed(size, interval.images, once, level=level) for size in SIZES},
            )
        )
    return found
