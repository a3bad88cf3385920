"""Means of several runs judged without the images that anything of them was fitted on.

Images are in parts (the folds, or two halves). For each part the decision is chosen on the other parts, and so is
whatever else a mean is made with: maps, weights, the decisions that vote. What is fitted for an image has not seen it.
One thing is left: where maps or votes are used, the weights and the decision for a part are chosen on what the other
images say after theirs, and these maps and votes were fitted on that part, too (a few numbers a run, on all pixels).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig
from saltern.inference.calibrate import Histogram, Platt, fit_platt, histogram
from saltern.inference.choice import choose
from saltern.inference.decide import Decision
from saltern.inference.ensemble import Recipe
from saltern.inference.predictions import Prediction
from saltern.inference.shapes import shapes_in
from saltern.inference.tune import Collector, Sample, Statistics, counts_at
from saltern.metrics.scores import Counts, summarise

AT_ONCE = 16
"""Candidates whose counts are gathered in one pass over the images: memory against passes."""

Source = Callable[[], Iterator[tuple[str, list[Prediction], NDArray[np.uint8]]]]
"""Begins a pass over the images: (id, what each run says of it out of fold, truth), the same order every time."""


@dataclass(frozen=True)
class Ground:
    """What means are judged on; arrays are (N,), in the order of the source."""

    ids: tuple[str, ...]
    parts: NDArray[np.int64]
    """The part of each image."""
    by: str
    """What the parts are: `fold` or `half`."""
    folds: NDArray[np.int64]
    """The fold of each image in the first run, whose training shifts its scores with those of others."""
    config: InferenceConfig
    """The grid of decisions and the score that is maximised."""
    groups: Mapping[str, str] | None = None
    """Id → group; None: each image is its own."""

    @property
    def numbers(self) -> list[int]:
        """Of the parts."""
        return [int(part) for part in np.unique(self.parts)]


@dataclass(frozen=True)
class Judged:
    """What one way of saying probabilities is worth."""

    inner: dict[int, float]
    """Part → the best score of the grid on the images of all other parts."""
    decisions: dict[int, Decision]
    """Part → the decision chosen on these."""
    counts: Counts
    """(N, 3) tp, fp, fn of each image at the decision of its part."""
    score: float
    """The best score of the grid on all images."""
    decision: Decision
    """The one chosen on all images."""

    def nested(self, score: str) -> float:
        """`score` of all images, each at the decision chosen without its part."""
        return summarise(self.counts)[score]


def judged(statistics: Statistics, ground: Ground) -> Judged:
    """The worth of what `statistics`, in the order of the ground, were made of."""
    assert statistics.ids == ground.ids, "images in another order"

    def chosen(rows: NDArray[np.bool_]) -> tuple[float, Decision]:
        there = statistics.take(rows)
        choice = choose(there, ground.config, ground.groups)
        return summarise(counts_at(there, choice.tuned))[ground.config.tune_for], choice.decision

    counts, inner, decisions = np.empty((len(ground.ids), 3), np.int64), {}, {}
    for part in ground.numbers:
        held_out = ground.parts == part
        inner[part], decisions[part] = chosen(~held_out)
        counts[held_out] = counts_at(statistics.take(held_out), decisions[part])
    return Judged(inner, decisions, counts, *chosen(np.ones(len(ground.ids), bool)))


@dataclass(frozen=True)
class Alone:
    """What the first pass finds of K runs, each by itself; None stands for all parts together."""

    judged: list[Judged]
    maps: dict[int | None, tuple[Platt | None, ...]]
    """Part → K maps fitted on the pixels of the other parts; None → on all pixels."""
    correlation: list[list[float | None]]
    """(K, K) of the pixels' errors p - y; null where a run makes none, or always the same."""

    def decisions(self, part: int | None) -> tuple[Decision, ...]:
        """The K decisions chosen on the other parts; for None on all images."""
        return tuple(one.decision if part is None else one.decisions[part] for one in self.judged)


def look(source: Source, ground: Ground, runs: int) -> Alone:
    """One pass over the images: the worth of each run, maps for its probabilities, how alike the runs err."""
    collectors = [_collector(ground) for _ in range(runs)]
    counted: dict[int, list[Histogram]] = {}
    sums, products, pixels = np.zeros(runs), np.zeros((runs, runs)), 0
    part_of = dict(zip(ground.ids, ground.parts.tolist(), strict=True))
    for id, said, target in source():
        found = [histogram(one.probs, target) for one in said]
        before = counted.setdefault(part_of[id], [np.zeros_like(each) for each in found])
        counted[part_of[id]] = [left + right for left, right in zip(before, found, strict=True)]
        valid = target != 255
        errors = np.stack([one.probs[valid] for one in said]).astype(np.float64) - (target[valid] == 1)
        sums, products, pixels = sums + errors.sum(axis=1), products + errors @ errors.T, pixels + errors.shape[1]
        for collector, one in zip(collectors, said, strict=True):
            collector.add(Sample(id, one.probs, target, one.presence))
    maps = {
        left_out: tuple(fit_platt(_sum(counted, run, left_out)) for run in range(runs))
        for left_out in (None, *ground.numbers)
    }
    return Alone(
        [judged(each.statistics(), ground) for each in collectors], maps, _correlation(sums, products, max(pixels, 1))
    )


def _sum(counted: Mapping[int, Sequence[Histogram]], run: int, left_out: int | None) -> Histogram:
    of_run = [each[run] for part, each in counted.items() if part != left_out]
    total: Histogram = np.sum(of_run, axis=0) if of_run else np.zeros((2, 1), np.int64)
    return total


def _correlation(sums: NDArray[np.float64], products: NDArray[np.float64], pixels: int) -> list[list[float | None]]:
    covariance = products / pixels - np.outer(sums, sums) / pixels**2
    spread = np.sqrt(np.diag(covariance).clip(0))
    scale = np.outer(spread, spread)
    return [
        [float(np.clip(value / by, -1, 1)) if by > 1e-12 else None for value, by in zip(*row, strict=True)]
        for row in zip(covariance, scale, strict=True)
    ]


@dataclass(frozen=True)
class Candidate:
    """A mean that may be taken."""

    weights: tuple[float, ...]
    calibrated: bool = False


class Bench:
    """Judges candidates, several in one pass over the images, and none twice."""

    def __init__(self, source: Source, ground: Ground, how: str, alone: Alone) -> None:
        self.source, self.ground, self.how, self.alone = source, ground, how, alone
        self._known: dict[Candidate, Judged] = {}

    def recipe(self, candidate: Candidate, part: int | None) -> Recipe:
        """The mean for images of a part; for None for images of which none was seen, such as those of the test."""
        maps = self.alone.maps[part] if candidate.calibrated else ()
        decisions = self.alone.decisions(part) if self.how == "vote" else ()
        return Recipe(candidate.weights, self.how, maps, decisions)

    def judge(self, candidates: Sequence[Candidate]) -> list[Judged]:
        """The worth of each, in this order."""
        new = [each for each in dict.fromkeys(candidates) if each not in self._known]
        for begin in range(0, len(new), AT_ONCE):
            some = new[begin : begin + AT_ONCE]
            for candidate, statistics in zip(some, self._pass(some), strict=True):
                self._known[candidate] = judged(statistics, self.ground)
        return [self._known[each] for each in candidates]

    @property
    def judged(self) -> int:
        """How many candidates have been judged."""
        return len(self._known)

    def _pass(self, candidates: Sequence[Candidate]) -> list[Statistics]:
        collectors = [_collector(self.ground) for _ in candidates]
        recipes = {part: [self.recipe(candidate, part) for candidate in candidates] for part in self.ground.numbers}
        part_of = dict(zip(self.ground.ids, self.ground.parts.tolist(), strict=True))
        first_of = {each.calibrated: place for place, each in reversed(list(enumerate(candidates)))}
        for id, said, target in self.source():
            here = recipes[part_of[id]]
            terms = {calibrated: here[place].terms(said) for calibrated, place in first_of.items()}
            for candidate, recipe, collector in zip(candidates, here, collectors, strict=True):
                mean = recipe.weigh(terms[candidate.calibrated], said)
                probs = mean.probs.astype(np.float16)  # as it would be stored
                collector.add(Sample(id, probs, target, mean.presence))
        return [each.statistics() for each in collectors]


def _collector(ground: Ground) -> Collector:
    return Collector(ground.config.thresholds, shapes_in(ground.config))
