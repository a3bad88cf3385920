"""How much each run counts in a mean, and what that is honestly worth.

Weights are those of a fixed lattice on the simplex with the best score, together with the best decision for each. The
lattice does not depend on the images, so one pass after another judges all of it, and a choice made without a part of
the images is scored on that part: nested cross-validation of weights, maps and decision together.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from saltern.inference.halves import clusters_of
from saltern.inference.judging import Bench, Candidate, Judged
from saltern.inference.tune import TOLERANCE
from saltern.metrics.differences import LEVEL, differences
from saltern.metrics.noise import Retrain, mean_interval
from saltern.metrics.scores import Counts, summarise
from saltern.metrics.values import values_of

MOST_CANDIDATES = 66
"""Points of the lattice: steps of 0.05 for two runs (the finest), 0.1 for three, 0.2 for four, 0.25 for five."""
FINEST = 20
"""Steps from 0 to 1."""


def lattice(runs: int) -> list[tuple[float, ...]]:
    """Weights for so many runs, sum 1, the nearest to equal first.

    Every point of the simplex with multiples of 1 / steps, as many steps as MOST_CANDIDATES allows; equal weights; and
    equal ones of all runs but one.
    """
    steps = max(each for each in range(1, FINEST + 1) if each == 1 or _points(runs, each) <= MOST_CANDIDATES)
    found = [_between(bars, steps + runs - 1) for bars in combinations(range(steps + runs - 1), runs - 1)]
    equal = [1.0] * runs
    found += [equal, *([float(place != left_out) for place in range(runs)] for left_out in range(runs))]
    shares = {tuple(round(weight / sum(weights), 12) for weight in weights) for weights in found}
    return sorted(shares, key=lambda each: (round(sum((weight - 1 / runs) ** 2 for weight in each), 9), each))


def _points(runs: int, steps: int) -> int:
    return math.comb(steps + runs - 1, runs - 1)


def _between(bars: Sequence[int], places: int) -> list[float]:
    """Stars between bars: whole numbers whose sum is `places` less the bars."""
    return [float(right - left - 1) for left, right in zip((-1, *bars), (*bars, places), strict=True)]


@dataclass(frozen=True)
class Fit:
    """The mean that is taken, and what is said of it."""

    candidate: Candidate
    """Fitted on all images, for images that are new."""
    of_part: dict[int, Candidate]
    """Part → what was fitted without it, for its own images."""
    facts: dict[str, Any]
    """`nested`, `gain`, `curve`, `correlation` as they stand in `ensemble.json`."""


def fit(bench: Bench, runs: Sequence[str], weights: Sequence[float] | None, *, calibrate: bool) -> Fit:
    """Choose among the candidates, and say what that choice is worth.

    Args:
        bench: judges them.
        runs: the names of the runs.
        weights: the one choice of weights; None: those of `lattice` are candidates.
        calibrate: whether each is a candidate with maps as well.
    """
    ground, score = bench.ground, bench.ground.config.tune_for
    given = lattice(len(runs)) if weights is None else [tuple(weights)]
    plain = [Candidate(each) for each in given]
    every = plain + [replace(each, calibrated=True) for each in plain if calibrate]
    worth = dict(zip(every, bench.judge(every), strict=True))
    taken = _best({each: one.score for each, one in worth.items()})
    of_part = {part: _best({each: one.inner[part] for each, one in worth.items()}) for part in ground.numbers}
    counts = _put_together(bench, worth, of_part)
    nested: dict[str, Any] = {"by": ground.by, "tuned_for": score, "scores": summarise(counts), "parts": {}}
    for part, candidate in of_part.items():
        nested["parts"][str(part)] = _said(bench, part, candidate, worth[candidate], counts)
    nested["singles"] = {run: one.nested(score) for run, one in zip(runs, bench.alone.judged, strict=True)}
    equal = Candidate(given[0] if weights is None else (1.0,) * len(runs))
    nested["equal"] = bench.judge([equal])[0].nested(score)
    if calibrate:
        nested["uncalibrated"] = _nested_of(bench, {each: worth[each] for each in plain})
    nested["candidates"] = len(every)
    base = plain[0] if weights is None else Candidate(tuple(weights))
    curve = _curve(bench, runs, replace(base, calibrated=taken.calibrated))
    facts = {"nested": nested, "gain": _gain(bench, runs, taken, counts), "curve": curve,
             "correlation": bench.alone.correlation}  # fmt: skip
    return Fit(taken, of_part, facts)


def _best(scores: dict[Candidate, float]) -> Candidate:
    """The first whose score is as high as any: without maps before with, equal weights before others."""
    best = max(scores.values())
    return next(each for each, score in scores.items() if score >= best - TOLERANCE)


def _put_together(bench: Bench, worth: dict[Candidate, Judged], of_part: dict[int, Candidate]) -> Counts:
    counts = np.empty((len(bench.ground.ids), 3), np.int64)
    for part, candidate in of_part.items():
        rows = bench.ground.parts == part
        counts[rows] = worth[candidate].counts[rows]
    return counts


def _nested_of(bench: Bench, worth: dict[Candidate, Judged]) -> float:
    """The nested score where these were the candidates."""
    of_part = {part: _best({each: one.inner[part] for each, one in worth.items()}) for part in bench.ground.numbers}
    return summarise(_put_together(bench, worth, of_part))[bench.ground.config.tune_for]


def _said(bench: Bench, part: int, candidate: Candidate, worth: Judged, counts: Counts) -> dict[str, Any]:
    rows = bench.ground.parts == part
    return {
        "images": int(rows.sum()),
        "weights": list(candidate.weights),
        "calibrated": candidate.calibrated,
        "decision": worth.decisions[part].to_json(),
        "scores": summarise(counts[rows]),
    }


def _gain(bench: Bench, runs: Sequence[str], taken: Candidate, counts: Counts) -> dict[str, Any]:
    """Nested score of the mean less that of the best single run, with the interval of the noise model.

    A mean shares its runs with what it is compared to: training all of them again changes the difference by
    Σ (wᵢ - bᵢ)² times the variance of one, where b is 1 for the single run and 0 for the others. That the best of
    several is taken makes the gain look smaller, if anything.
    """
    ground, score = bench.ground, bench.ground.config.tune_for
    singles = [one.nested(score) for one in bench.alone.judged]
    best = int(np.argmax(singles))
    change = differences(values_of(bench.alone.judged[best].counts, score), values_of(counts, score))
    shares = np.array(taken.weights) / sum(taken.weights)
    shares[best] -= 1
    once = Retrain()
    known = Retrain(once.variance * float((shares**2).sum()), once.df)
    clusters = clusters_of(ground.ids, ground.groups)
    found = mean_interval(change, clusters, ground.folds, level=LEVEL, retrain=known, lean=False)
    ends = {"low": found.low, "high": found.high} if found.said else {"low": None, "high": None}
    return {"over": runs[best], "score": score, "mean": found.mean, **ends, "level": LEVEL}


def _curve(bench: Bench, runs: Sequence[str], base: Candidate) -> list[dict[str, Any]]:
    """Members → nested score: from the best single run on, the run that raises it most is added.

    The runs so far count as in `base`. The order is chosen by the very scores that are shown, so the highest of them
    flatters a little.
    """
    score = bench.ground.config.tune_for
    singles = [one.nested(score) for one in bench.alone.judged]
    counted = [place for place, weight in enumerate(base.weights) if weight]
    inside = [max(counted, key=lambda place: singles[place])]
    curve = [{"added": runs[inside[0]], "score": singles[inside[0]]}]
    while left := [place for place in counted if place not in inside]:
        tries = [
            replace(base, weights=tuple(w if at in (*inside, place) else 0.0 for at, w in enumerate(base.weights)))
            for place in left
        ]
        found = [one.nested(score) for one in bench.judge(tries)]
        inside.append(left[int(np.argmax(found))])
        curve.append({"added": runs[inside[-1]], "score": max(found)})
    return curve
