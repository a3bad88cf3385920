"""How often 95 % intervals and forecasts hold, and how often `make compare` raises a false alarm; the truth is known.

    python benchmarks/honesty.py [COMPETITIONS]

Competitions are drawn with the statistics of TGS's `precision_tgs`: 39 % of the images are empty, which score 0 or 1,
the rest has a skewed score in steps of 0.1; images of a group score alike; each training (fold and seed) moves the
scores of all of its images, in each competition by another spread, around the default of `saltern.metrics.noise`. The
mean of the recipe over endless images and trainings is known, so it is known whether an interval holds it. A test set
of twice as many images, in groups of the same kind, is drawn beside, of which the public part is 30 %; it is scored by
the very networks that were validated (the mean of the folds' shifts), and once more by networks that are trained again.
"""

import sys
import time
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from scipy.stats import beta

from saltern.inference.forecast import Evidence, forecast
from saltern.metrics.differences import Ground, Scored, compare
from saltern.metrics.noise import RETRAIN_DF, RETRAIN_SD, Retrain, learned, mean_interval

EMPTY, EMPTY_RIGHT = 0.39, 0.92
"""Share of images without foreground, and how many of them are left empty."""
STEPS = np.round(beta.ppf((np.arange(4000) + 0.5) / 4000, 1.6, 0.6), 1)
"""Quantiles of the score of an image with foreground."""
MEAN = EMPTY * EMPTY_RIGHT + (1 - EMPTY) * float(STEPS.mean())
"""Of endless images."""
ALIKE, OWN = 0.4, 0.1
"""Share of the variance (of what makes an image hard) that a group shares, and that one training alone sees."""
GAIN = 0.02
"""True difference where there is one."""
TEST, PUBLIC = 2, 0.3
"""Test images for each labelled one, and the share of them that is public."""
INTERVALS = {
    "estimate": "estimate holds",
    "difference": "difference holds",
    "false alarm": "false alarms",
    "no clusters": "without clusters",
    "no retrain": "without retrain",
    "images alone": "images alone",
    "found": "+ 0.02 found",
}
"""Key of `trial` → column."""
FORECASTS = {
    "test": "test",
    "public": "public part",
    "test, trained again": "test, trained again",
    "public, trained again": "public part, trained again",
}
"""The same of the second table."""


@dataclass(frozen=True)
class Setting:
    """A kind of competition."""

    images: int
    group: float = 1.0
    """Mean number of images that belong together."""
    folds: int = 1
    seeds: int = 1
    spread: float | None = None
    """Standard deviation of a retrain in units of the default; None: drawn anew for each competition."""


class Images:
    """Images that are drawn: what each is, and which belong together."""

    def __init__(self, count: int, group: float, random: np.random.Generator) -> None:
        self.random, self.alone = random, group == 1
        groups = random.integers(0, max(5, round(count / group)), count)
        self.clusters = np.unique(np.arange(count) if self.alone else groups, return_inverse=True)[1]
        self.empty = random.random(count) < EMPTY
        self.hard = self._normal()

    def scores(self) -> np.ndarray:
        """(N,) by one training, before its shift."""
        level = ndtr(np.sqrt(1 - OWN) * self.hard + np.sqrt(OWN) * self._normal())
        filled = STEPS[np.minimum((level * len(STEPS)).astype(int), len(STEPS) - 1)]
        return np.where(self.empty, (level > 1 - EMPTY_RIGHT).astype(float), filled)

    def _normal(self) -> np.ndarray:
        single = self.random.normal(size=len(self.clusters))
        if self.alone:
            return single
        shared = self.random.normal(size=int(self.clusters.max()) + 1)[self.clusters]
        return np.sqrt(ALIKE) * shared + np.sqrt(1 - ALIKE) * single


class Competition:
    """The labelled images of one, its test, and runs over them."""

    def __init__(self, setting: Setting, random: np.random.Generator) -> None:
        self.setting, self.random = setting, random
        self.images = Images(setting.images, setting.group, random)
        self.clusters = self.images.clusters
        count = int(self.clusters.max()) + 1
        self.folds = (random.permutation(count) % setting.folds)[self.clusters]
        drawn = RETRAIN_DF / random.chisquare(RETRAIN_DF) if setting.spread is None else setting.spread**2
        self.sd = RETRAIN_SD * float(np.sqrt(drawn))

    def run(self, gain: float = 0.0, shifts: np.ndarray | None = None) -> np.ndarray:
        """Scores (seeds, images) of a recipe whose true mean is MEAN + `gain`; `shifts` as of `trainings`."""
        shifts = self.trainings() if shifts is None else shifts
        return np.stack([self.images.scores() + shift[self.folds] for shift in shifts]) + gain

    def trainings(self) -> np.ndarray:
        """(seeds, folds) how far each network's scores are shifted."""
        return self.random.normal(0, self.sd, (self.setting.seeds, self.setting.folds))

    def leaderboards(self, shifts: np.ndarray) -> list[tuple[float, float]]:
        """The whole test's score and its public part's, by the networks `shifts` (folds,), and by others like them."""
        test = Images(TEST * self.setting.images, self.setting.group, self.random)
        public = self.random.permutation(len(test.clusters))[: public_images(self.setting)]
        again = self.random.normal(0, self.sd, self.setting.folds)
        scores = test.scores()
        return [
            (float(scores.mean() + shift), float(scores[public].mean() + shift))
            for shift in (shifts.mean(), again.mean())
        ]


def public_images(setting: Setting) -> int:
    """How many test images the public leaderboard counts."""
    return round(PUBLIC * TEST * setting.images)


def known(competition: Competition, scores: np.ndarray) -> Retrain:
    """What a run's seeds say of a retrain, as `make seeds` measures it."""
    seeds, images = scores.shape
    drawn = np.repeat(np.arange(seeds), images)
    return learned(scores.ravel(), np.tile(competition.clusters, seeds), np.tile(competition.folds, seeds), drawn)


def trial(setting: Setting, random: np.random.Generator) -> dict[str, bool]:
    """One competition: whether each interval holds, and which methods raise a false alarm."""
    competition = Competition(setting, random)
    shifts = competition.trainings()
    first, same, better = competition.run(shifts=shifts), competition.run(), competition.run(GAIN)
    seeds, images = first.shape
    estimate = mean_interval(
        first.ravel(),
        np.tile(competition.clusters, seeds),
        np.tile(competition.folds, seeds),
        np.repeat(np.arange(seeds), images),
    )
    ground = Ground(competition.folds, competition.clusters, known(competition, first) if seeds > 1 else Retrain())
    scored = [Scored(scores.mean(axis=0), seeds) for scores in (first, same, better)]
    (null,) = compare("score", {"first": scored[0], "same": scored[1]}, ground)
    (gained,) = compare("score", {"first": scored[0], "better": scored[2]}, ground)
    change = scored[1].scores - scored[0].scores
    alone = mean_interval(change, retrain=Retrain(0.0), lean=False)
    pair = ground.retrain.plus(ground.retrain).over(seeds)
    ungrouped = mean_interval(change, None, competition.folds, retrain=pair, lean=False)
    untrained = mean_interval(change, competition.clusters, retrain=Retrain(0.0), lean=False)
    return {
        "estimate": estimate.low <= MEAN <= estimate.high,
        "difference": gained.low <= GAIN <= gained.high,
        "false alarm": null.word != "cannot be told apart",
        "found": gained.word == "higher",
        "no clusters": not ungrouped.low <= 0 <= ungrouped.high,
        "no retrain": not untrained.low <= 0 <= untrained.high,
        "images alone": not alone.low <= 0 <= alone.high,
        **foretold(competition, first[0], shifts[0], ground.retrain),
    }


def foretold(competition: Competition, scores: np.ndarray, shifts: np.ndarray, retrain: Retrain) -> dict[str, bool]:
    """Whether the forecast of a run holds the score of the whole test and of its public part.

    Args:
        competition: where it took part.
        scores: (N,) of the labelled images.
        shifts: (folds,) of the networks that gave them.
        retrain: what is known of them.
    """
    evidence = Evidence(scores, competition.clusters, competition.folds, retrain)
    images = TEST * len(scores)
    said = forecast(evidence, float(scores.mean()), images, public_images(competition.setting))
    assert said is not None, "a single group was drawn"
    (test, public), (test_again, public_again) = competition.leaderboards(shifts)
    shown = {
        "test": (test, said),
        "public": (public, said["public"]),
        "test, trained again": (test_again, said["again"]),
        "public, trained again": (public_again, said["public"]["again"]),
    }
    return {key: bool(bounds["low"] <= score <= bounds["high"]) for key, (score, bounds) in shown.items()}


def rates(setting: Setting, count: int, seed: int = 0) -> dict[str, float]:
    """Share of `count` competitions in which each thing of `trial` is so."""
    random = np.random.default_rng([seed, setting.images, round(10 * setting.group), setting.folds, setting.seeds])
    trials = [trial(setting, random) for _ in range(count)]
    return {key: float(np.mean([found[key] for found in trials])) for key in trials[0]}


def families(setting: Setting, runs: int, count: int) -> tuple[float, float]:
    """Share of pages of `runs` equal runs with a false alarm; and where no interval is widened for their number."""
    random = np.random.default_rng([1, setting.images])
    wide = narrow = 0
    for _ in range(count):
        competition = Competition(setting, random)
        scored = {str(number): Scored(competition.run().mean(axis=0)) for number in range(runs + 1)}
        ground = Ground(competition.folds, competition.clusters)
        wide += any(found.word != "cannot be told apart" for found in compare("score", scored, ground))
        pairs = [{"0": scored["0"], name: scored[name]} for name in list(scored)[1:]]
        narrow += any(compare("score", pair, ground)[0].word != "cannot be told apart" for pair in pairs)
    return wide / count, narrow / count


def main() -> None:
    """Print the tables as markdown."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    began = time.monotonic()
    groups = {20: 2.0, 60: 3.0, 134: 4.0, 400: 8.0, 1200: 15.0}
    settings = [
        Setting(images, group, folds)
        for folds in (1, 5)
        for images, size in groups.items()
        for group in (1.0, size)
    ]  # fmt: skip
    settings += [Setting(images, group, 1, 3) for images, size in groups.items() for group in (1.0, size)]
    settings += [Setting(400, 1.0, 1, seeds, spread) for spread in (0.5, 1.0, 2.0) for seeds in (1, 3, 5)]
    results = {item: rates(item, count) for item in settings}
    for columns in (INTERVALS, FORECASTS):
        print(f"| images | a group | folds | seeds | retrain | {' | '.join(columns.values())} |")
        print("|" + "---:|" * (5 + len(columns)))
        for item, found in results.items():
            spread = "drawn" if item.spread is None else f"{item.spread:g} x"
            shown = " | ".join(f"{100 * found[key]:.1f} %" for key in columns)
            print(f"| {item.images:,} | {item.group:g} | {item.folds} | {item.seeds} | {spread} | {shown} |")
        print()
    wide, narrow = families(Setting(400), 9, max(100, count // 5))
    print(f"Nine runs that are equal, 400 images: a false alarm on {100 * wide:.0f} % of the pages; "
          f"{100 * narrow:.0f} % if intervals were not widened.")  # fmt: skip
    print(f"\n{count} competitions a line, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
