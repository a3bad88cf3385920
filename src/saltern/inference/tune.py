"""Tuning the decision on out-of-fold probabilities, from statistics that are small enough to keep for every image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig
from saltern.errors import RunError
from saltern.inference.decide import NEUTRAL, Decision, as_probabilities, peak
from saltern.metrics.scores import MEAN_OF, PER_IMAGE, Counts

TOLERANCE = 1e-4
"""Scores this close are one score: far below what the noise of any fold can tell apart."""


class Sample(NamedTuple):
    """An image out of fold."""

    id: str
    probs: NDArray[np.floating[Any]]
    """(H, W) in [0, 1]."""
    target: NDArray[np.integer[Any]]
    """(H, W) of {0, 1, 255}."""
    presence: float | None = None
    """The probability that it holds any foreground; None where none is stored."""


@dataclass(frozen=True)
class Statistics:
    """All that any decision's scores depend on, for N images and T thresholds; no pixel is kept."""

    ids: tuple[str, ...]
    thresholds: NDArray[np.float32]
    """(T,), ascending."""
    area: NDArray[np.int64]
    """(N, T) pixels above each threshold, void or not: what `min_area` is compared with."""
    predicted: NDArray[np.int64]
    """(N, T) valid pixels above each threshold."""
    hit: NDArray[np.int64]
    """(N, T) foreground pixels of the truth above each threshold."""
    truth: NDArray[np.int64]
    """(N,) foreground pixels of the truth."""
    peak: NDArray[np.float32]
    """(N,) highest probability, void or not."""
    presence: NDArray[np.float32] | None = None
    """(N,) the probability that the image holds any foreground; None where none is stored."""

    def take(self, rows: NDArray[np.bool_]) -> "Statistics":
        """The images for which `rows` (N,) is true."""
        ids = tuple(name for name, wanted in zip(self.ids, rows, strict=True) if wanted)
        kept = {name: getattr(self, name)[rows] for name in ("area", "predicted", "hit", "truth", "peak")}
        presence = None if self.presence is None else self.presence[rows]
        return replace(self, ids=ids, presence=presence, **kept)

    def column(self, threshold: float) -> int:
        """The index of `threshold`, which must be one of those collected."""
        found = np.flatnonzero(self.thresholds == np.float32(threshold))
        assert len(found) == 1, f"threshold {threshold} was not collected"
        return int(found[0])

    def counts(self, threshold: float) -> Counts:
        """(N, 3) tp, fp, fn of the masks at `threshold` before anything is emptied."""
        column = self.column(threshold)
        hit = self.hit[:, column]
        return np.stack([hit, self.predicted[:, column] - hit, self.truth - hit], axis=1)


@dataclass(frozen=True)
class TunedDecision:
    """The chosen decision with the score it was chosen for."""

    decision: Decision
    score: float
    best: float
    """The highest score of the grid, at most `TOLERANCE` above `score`."""


def collect(samples: Iterable[Sample], thresholds: Sequence[float]) -> Statistics:
    """Reduce out-of-fold probabilities to statistics, image by image; the threshold 0.5 is always among them.

    Raises:
        RunError: probabilities outside [0, 1], a target of another size, presence of some images alone, or no sample
            at all; names the id.
    """
    levels = np.unique(np.array([*thresholds, NEUTRAL.threshold], dtype=np.float32))
    ids: list[str] = []
    presence: list[float | None] = []
    rows: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, np.float32]] = []
    for name, probs, target, present in samples:
        if probs.shape != target.shape:
            raise RunError(f"id {name!r}: probabilities {probs.shape}, target {target.shape}: expected the same size.")
        try:
            rows.append(_measure(as_probabilities(probs), target, levels))
        except RunError as error:
            raise RunError(f"id {name!r}: {error}") from None
        ids.append(name)
        presence.append(present)
        if (present is None) != (presence[0] is None):
            raise RunError(f"ids {ids[0]!r} and {name!r}: presence is stored for one of the two; predict both alike.")
    if not rows:
        raise RunError("no out-of-fold probabilities to tune on: expected those of at least one finished fold.")
    area, predicted, hit, truth, peaks = zip(*rows, strict=True)
    return Statistics(
        tuple(ids),
        levels,
        np.stack(area),
        np.stack(predicted),
        np.stack(hit),
        np.array(truth, dtype=np.int64),
        np.array(peaks, dtype=np.float32),
        None if presence[0] is None else np.array(presence, dtype=np.float32),
    )


def _measure(
    probs: NDArray[np.float32], target: NDArray[np.integer[Any]], levels: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, np.float32]:
    """One image's row: a histogram of the thresholds each pixel exceeds, split by background, foreground, void."""
    exceeded = np.searchsorted(levels, probs.ravel(), side="left")
    kind = np.where(target == 255, 2, target == 1).ravel()
    bins = len(levels) + 1
    histogram = np.bincount(exceeded + bins * kind, minlength=3 * bins).reshape(3, bins)
    above = histogram[:, :0:-1].cumsum(axis=1)[:, ::-1].astype(np.int64)
    return above.sum(axis=0), above[:2].sum(axis=0), above[1], int(histogram[1].sum()), peak(probs)


def emptied(statistics: Statistics, decision: Decision) -> NDArray[np.bool_]:
    """(N,) whether `decision` empties the image's mask."""
    small = statistics.area[:, statistics.column(decision.threshold)] < decision.min_area
    empty: NDArray[np.bool_] = small | (statistics.peak < np.float32(decision.empty_gate))
    if decision.presence_gate:
        assert statistics.presence is not None, "a gate for presence, which is not stored"
        empty = empty | (statistics.presence < np.float32(decision.presence_gate))
    return empty


def counts_at(statistics: Statistics, decision: Decision) -> Counts:
    """(N, 3) tp, fp, fn of the masks that `decision` gives; its threshold must have been collected."""
    empty = np.stack([np.zeros_like(statistics.truth), np.zeros_like(statistics.truth), statistics.truth], axis=1)
    return np.where(emptied(statistics, decision)[:, None], empty, statistics.counts(decision.threshold))


def tune(statistics: Statistics, config: InferenceConfig) -> TunedDecision:
    """The decision of the grid `thresholds` x `min_areas` x `empty_gates` with the best `config.tune_for`.

    Where presence is stored, `presence_gates` are a fourth axis; elsewhere they are left alone.

    Of the candidates within `TOLERANCE` of the best it is the one nearest to the neutral decision (0.5, 0, no gates):
    the sum of the distances, each as a share of the longest on its axis, is smallest; then the lower threshold.
    """
    thresholds = np.unique(np.array(config.thresholds))
    areas, gates = np.unique(np.array(config.min_areas)), np.unique(np.array(config.empty_gates))
    presences = np.unique(np.array([0.0] if statistics.presence is None else config.presence_gates))
    unlocked = _unlocked(statistics, gates, presences)
    scores = np.stack([_grid(statistics, float(level), areas, unlocked, config.tune_for) for level in thresholds])
    scores = scores.reshape(len(thresholds), len(areas), len(gates), len(presences))
    away = (
        _share(np.abs(thresholds - NEUTRAL.threshold))[:, None, None, None]
        + _share(areas - NEUTRAL.min_area)[:, None, None]
        + _share(gates - NEUTRAL.empty_gate)[:, None]
        + _share(presences)
    )
    best = scores.max()
    choice = np.where(scores >= best - TOLERANCE, away, np.inf).argmin()
    threshold, area, gate, presence = np.unravel_index(choice, scores.shape)
    decision = Decision(
        float(thresholds[threshold]),
        int(areas[area]),
        float(gates[gate]),
        None if statistics.presence is None else float(presences[presence]),
    )
    return TunedDecision(decision, float(scores.flat[choice]), float(best))


def _unlocked(
    statistics: Statistics, gates: NDArray[np.float64], presences: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, gates * presences) 1 where an image passes both gates, whatever the threshold; else 0."""
    passed = (statistics.peak[:, None] >= gates.astype(np.float32))[:, :, None]
    if statistics.presence is not None:
        passed = passed & (statistics.presence[:, None] >= presences.astype(np.float32))[:, None, :]
    return passed.reshape(len(statistics.ids), -1).astype(np.float64)


def _grid(
    statistics: Statistics, threshold: float, areas: NDArray[np.int64], unlocked: NDArray[np.float64], tune_for: str
) -> NDArray[np.float64]:
    """Scores (areas, gates) at one threshold.

    An image has one score if kept and one if emptied, and is kept where area and gates both let it pass; so the sums
    over images are products of matrices.
    """
    large = (statistics.area[:, statistics.column(threshold), None] >= areas).astype(np.float64)
    counts = statistics.counts(threshold)
    if tune_for in MEAN_OF:
        emptied_scores = (statistics.truth == 0).astype(np.float64)
        gain = PER_IMAGE[MEAN_OF[tune_for]](counts) - emptied_scores
        scores: NDArray[np.float64] = (emptied_scores.sum() + (large * gain[:, None]).T @ unlocked) / len(counts)
        return scores
    assert tune_for == "iou_dataset", tune_for
    hit, wrong = (((large * counts[:, kind, None]).T @ unlocked).round() for kind in (0, 1))
    union = wrong + statistics.truth.sum()
    return np.divide(hit, union, out=np.ones_like(hit), where=union > 0)


def _share(distance: NDArray[Any]) -> NDArray[np.float64]:
    return distance / max(float(distance.max()), 1e-12)
