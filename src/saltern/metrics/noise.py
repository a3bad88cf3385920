"""The one noise model: how far a mean score, or a mean difference of two runs, may lie from what it stands for.

The score of image i, in cluster c, by the network that was trained on fold k with seed s, is

    mean + cluster c + image i + network (k, s) + rest (i, k, s)

with independent random effects. Clusters are images that belong together (one flight, one mosaic, near-duplicates);
without them each image is its own. Every (fold, seed) is a training of its own and shifts the scores of all of its
images, which no number of images averages away: this is why a bootstrap over images takes two seeds of one recipe for
two different recipes. So it is a random-effects model with two crossed factors, cases and trainings, as for
radiologists who read the same cases (Obuchowski and Rockette, Commun. Stat. Simul. 24, 1995; Hillis, Stat. Med. 26,
2007). It is taken in place of a hierarchical bootstrap, which is far too narrow where a level has one to three members,
as seeds do.

The variance of the mean has two parts:

- **images**: sums over clusters, each adjusted for its share of all images, so that it is unbiased for clusters of
  unequal size, with the degrees of freedom that belong to it (CR2; Bell and McCaffrey, Surv. Methodol. 28, 2002;
  Pustejovsky and Tipton, J. Bus. Econ. Stat. 36, 2018). For single images it is s² / N with N - 1 degrees.
- **retrain**: the variance of a network's shift, times the sum of the squared shares of the trainings. What is known of
  it is a `Retrain`: a default, moved by what several folds and seeds show, each by the weight of its evidence
  (moderated variances; Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004).

The interval of these parts is made in `metrics/intervals`. Not in the model:
networks of different folds share most of their training images, which no single cross-validation can measure (Bengio
and Grandvalet, J. Mach. Learn. Res. 5, 2004).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from saltern.metrics.clusters import Values, cluster_variance, numbered, third_moment
from saltern.metrics.intervals import Interval, interval_of
from saltern.metrics.scores import Counts

RETRAIN_SD = 0.0065
"""Standard deviation of a mean score between trainings of one fold with different seeds, where it was not measured.

Two seeds of one recipe on the same fold of TGS (640 images) had 0.8041 and 0.8133 `precision_tgs` at 0.5; half of the
squared difference is 0.0065². It does not depend on the number of images: what varies from image to image lies in the
images' part. Other pairs agree: 16 % of them at 134 images, 24 % at 400 and 39 % at 1,200 looked clearly different at
a nominal 5 %, which takes a shift of 0.042 to 0.059 of the spread of the images' differences (0.15 or so)."""
RETRAIN_DF = 4.0
"""Degrees of freedom that the default is worth: as much as a measurement with five seeds. Data sets differ."""

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Retrain:
    """What is known of the shift of a mean score from training one network again."""

    variance: float = RETRAIN_SD**2
    df: float = RETRAIN_DF
    """Degrees of freedom of `variance`: how well it is known."""

    @property
    def sd(self) -> float:
        """The standard deviation, in units of the score."""
        return math.sqrt(self.variance)

    def learn(self, between: float, within: float, df: float) -> "Retrain":
        """Moved by a measurement.

        Args:
            between: variance between the mean scores of trainings, `df` + 1 of them.
            within: the part of it that the images make, which says nothing of the networks. The larger it is, the less
                the measurement counts: its degrees of freedom are `df` times (v / (v + within))², where v is what was
                believed before.
            df: at least 0.
        """
        if df <= 0 or self.variance + within <= 0:
            return self
        worth = df * (self.variance / (self.variance + within)) ** 2
        found = max(0.0, between - within)
        return Retrain((self.df * self.variance + worth * found) / (self.df + worth), self.df + worth)

    def over(self, trainings: float) -> "Retrain":
        """Of the mean of so many trainings."""
        return Retrain(self.variance / trainings, self.df)

    def plus(self, other: "Retrain") -> "Retrain":
        """Of the difference (or the sum) of two independent means, such as those of two runs.

        Degrees of freedom are averaged, not added: what is known of both is mostly the same default or measurement.
        """
        variance = self.variance + other.variance
        if not variance:
            return Retrain(0.0, min(self.df, other.df))
        return Retrain(variance, variance / (self.variance / self.df + other.variance / other.df))


def mean_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seeds: ArrayLike | None = None,
    *,
    level: float = 0.95,
    retrain: Retrain = Retrain(),
    lean: bool = True,
) -> Interval:
    """The mean of scores, or of paired differences, with its interval.

    It stands for the mean over new images (new clusters) and new trainings of the same recipe.

    Args:
        values: (N,) a score or a difference of each image; with `seeds`, of each image and seed.
        clusters: (N,) labels; images with one label belong together. None: each row is its own.
        folds: (N,) labels of the fold whose network gave the value. None: one network gave all.
        seeds: (N,) labels of the seed of that training; each seed over the same images. Needs `clusters` (the id where
            images are their own), which says what is the same image. None: one seed.
        level: in (0, 1), such as 0.95.
        retrain: what is known of one training's shift of these values; for differences of runs with one seed each it is
            `Retrain().plus(Retrain())`.
        lean: whether the interval follows the lean of the values. Not for differences of runs: what two networks make
            of an image has no side, and the few images that change much would seem to show one.

    Returns:
        With less than two clusters the mean alone: `said` is false, the interval is all numbers.
    """
    scores, labels, parts, draws = _rows(values, clusters, folds, seeds)
    mean, count = float(scores.mean()), int(labels.max()) + 1
    if count < 2:
        return Interval(mean, -math.inf, math.inf, math.inf, math.inf, math.inf, clusters=count)
    known = learned(scores, labels, parts, draws, retrain)
    shift = known.variance * _share(parts) / (int(draws.max()) + 1)
    listed = [cluster_variance(scores, labels), (shift, known.df)]
    return interval_of(mean, listed, level, third_moment(scores, labels) if lean else 0.0, clusters=count)


def learned(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    seeds: ArrayLike | None = None,
    retrain: Retrain = Retrain(),
    *,
    ask_folds: bool = True,
) -> Retrain:
    """`retrain`, moved by what several seeds and folds of `values` show; arguments as in `mean_interval`.

    Without `ask_folds` by the seeds alone: where several recipes are asked in turn, how hard each fold is would count
    as often as there are recipes.
    """
    scores, labels, parts, draws = _rows(values, clusters, folds, seeds)
    known = _by_seeds(retrain, scores, labels, draws, _share(parts))
    if not ask_folds:
        return known
    return _by_folds(known, scores, labels, parts, int(draws.max()) + 1)


def iou_dataset_values(counts: Counts) -> Values:
    """Values (N,) of images whose mean is `iou_dataset` of `counts` (N, 3), for `mean_interval`.

    A ratio of sums R = sum(tp) / sum(union) is no mean of images. To first order it moves like the mean of
    R + (tp - R union) / mean(union) (delta method; Cochran, Sampling Techniques, 1977, section 6). All 1 where no truth
    and no mask has foreground.
    """
    union = counts.sum(axis=1).astype(np.float64)
    if not union.any():
        return np.ones(len(counts))
    ratio = counts[:, 0].sum() / union.sum()
    values: Values = ratio + (counts[:, 0] - ratio * union) / union.mean()
    return values


def seeds_needed(difference: float, images: float, retrain: float, *, level: float = 0.95) -> int | None:
    """How many seeds of each run it takes to find a true difference of two runs four times out of five.

    Args:
        difference: true difference of the mean scores, not 0.
        images: variance of the mean difference that the images make, as in `Interval`.
        retrain: variance of it that training makes with one seed of each run.
        level: of the interval that is to exclude 0.

    Returns:
        None where no number of seeds is enough: the images alone blur more than that.
    """
    allowed = (difference / float(ndtri(0.5 + level / 2) + ndtri(0.8))) ** 2 - images
    if allowed <= 0:
        return None
    return max(1, math.ceil(retrain / allowed))


def _by_seeds(known: Retrain, scores: Values, labels: Labels, draws: Labels, share: float) -> Retrain:
    """What the means of several seeds over the same images say of one training; `share` sums the folds' squares."""
    repeats = int(draws.max()) + 1
    if repeats < 2 or not labels.any():
        return known
    counts = np.bincount(draws)
    assert (counts == counts[0]).all(), "seeds over different numbers of images"
    means = np.bincount(draws, weights=scores) / counts
    of_cluster = np.bincount(labels, weights=scores) / np.bincount(labels)
    rests = [cluster_variance((scores - of_cluster[labels])[draws == draw], labels[draws == draw])[0]
             for draw in range(repeats)]  # fmt: skip
    within = float(np.mean(rests)) * repeats / (repeats - 1)
    return known.learn(float(means.var(ddof=1)) / share, within / share, repeats - 1)


def _by_folds(known: Retrain, scores: Values, labels: Labels, parts: Labels, repeats: int) -> Retrain:
    """What the means of several folds say of one training; folds with less than two clusters say nothing."""
    means, within = [], []
    for part in range(int(parts.max()) + 1):
        rows = parts == part
        inside = numbered(labels[rows])
        if int(inside.max()) > 0:
            means.append(float(scores[rows].mean()))
            within.append(cluster_variance(scores[rows], inside)[0])
    if len(means) < 2:
        return known
    between = float(np.var(means, ddof=1))
    return known.learn(repeats * between, repeats * float(np.mean(within)), len(means) - 1)


def _rows(
    values: ArrayLike, clusters: ArrayLike | None, folds: ArrayLike | None, seeds: ArrayLike | None
) -> tuple[Values, Labels, Labels, Labels]:
    """Scores, and their clusters, folds and seeds as numbers; see `mean_interval`."""
    scores = np.asarray(values, dtype=np.float64)
    assert scores.ndim == 1, f"values {scores.shape}"
    assert len(scores), "no value"
    assert seeds is None or clusters is not None, "seeds without clusters: nothing says which rows are one image"
    alike = np.zeros(len(scores))
    labels = numbered(np.arange(len(scores)) if clusters is None else clusters)
    return scores, labels, numbered(alike if folds is None else folds), numbered(alike if seeds is None else seeds)


def _share(parts: Labels) -> float:
    """Sum of the folds' squared shares: what is left of one network's variance in the mean over all."""
    return float(np.square(np.bincount(parts) / len(parts)).sum())
