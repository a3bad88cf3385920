"""Tuning the decision on out-of-fold probabilities, from statistics that are small enough to keep for every image."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig
from saltern.errors import RunError
from saltern.inference.decide import NEUTRAL, Decision, as_probabilities, peak
from saltern.inference.shapes import PLAIN, Shape, areas_and_counts, shapes_in, with_plain
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
    """All that any decision's scores depend on, for N images, T thresholds and S shapes; no pixel is kept.

    Columns go through all thresholds of the first shape, then of the next.
    """

    ids: tuple[str, ...]
    thresholds: NDArray[np.float32]
    """(T,), ascending."""
    area: NDArray[np.int64]
    """(N, S * T) pixels of each mask, void or not: what `min_area` is compared with."""
    predicted: NDArray[np.int64]
    """(N, S * T) valid pixels of each mask."""
    hit: NDArray[np.int64]
    """(N, S * T) foreground pixels of the truth in each mask."""
    truth: NDArray[np.int64]
    """(N,) foreground pixels of the truth."""
    peak: NDArray[np.float32]
    """(N,) highest probability, void or not."""
    presence: NDArray[np.float32] | None = None
    """(N,) the probability that the image holds any foreground; None where none is stored."""
    shapes: tuple[Shape, ...] = (PLAIN,)
    """(S,) what is done to the masks above the thresholds; PLAIN, which is nothing, is the first."""

    def take(self, rows: NDArray[np.bool_]) -> "Statistics":
        """The images for which `rows` (N,) is true."""
        ids = tuple(name for name, wanted in zip(self.ids, rows, strict=True) if wanted)
        kept = {name: getattr(self, name)[rows] for name in ("area", "predicted", "hit", "truth", "peak")}
        presence = None if self.presence is None else self.presence[rows]
        return replace(self, ids=ids, presence=presence, **kept)

    def column(self, threshold: float, shape: Shape = PLAIN) -> int:
        """The index of `threshold` and `shape`, which must be among those collected."""
        found = np.flatnonzero(self.thresholds == np.float32(threshold))
        assert len(found) == 1, f"threshold {threshold} was not collected"
        assert shape in self.shapes, f"{shape} was not collected"
        return self.shapes.index(shape) * len(self.thresholds) + int(found[0])

    def counts(self, column: int) -> Counts:
        """(N, 3) tp, fp, fn of the masks of a `column` before anything is emptied."""
        hit = self.hit[:, column]
        return np.stack([hit, self.predicted[:, column] - hit, self.truth - hit], axis=1)


@dataclass(frozen=True)
class TunedDecision:
    """The chosen decision with the score it was chosen for."""

    decision: Decision
    score: float
    best: float
    """The highest score of the grid, at most `TOLERANCE` above `score`."""


class Collector:
    """Reduces out-of-fold probabilities to statistics, image by image; 0.5 and PLAIN are always among them.

    `shapes` beyond PLAIN take a search for components in each mask; see `shapes.areas_and_counts`.
    """

    def __init__(self, thresholds: Sequence[float], shapes: Sequence[Shape] = ()) -> None:
        self.levels = np.unique(np.array([*thresholds, NEUTRAL.threshold], dtype=np.float32))
        self.shapes = with_plain(shapes)
        self._ids: list[str] = []
        self._presence: list[float | None] = []
        self._rows: list[_Row] = []

    def add(self, sample: Sample) -> None:
        """Count the pixels of one image.

        Raises:
            RunError: probabilities outside [0, 1], a target of another size, presence of some images alone; names the
                id.
        """
        name, probs, target, present = sample
        if probs.shape != target.shape:
            raise RunError(f"id {name!r}: probabilities {probs.shape}, target {target.shape}: expected the same size.")
        try:
            self._rows.append(_measure(as_probabilities(probs), target, self.levels, self.shapes[1:]))
        except RunError as error:
            raise RunError(f"id {name!r}: {error}") from None
        self._ids.append(name)
        self._presence.append(present)
        if (present is None) != (self._presence[0] is None):
            raise RunError(
                f"ids {self._ids[0]!r} and {name!r}: presence is stored for one of the two; predict both alike."
            )

    def statistics(self) -> Statistics:
        """What was added. Raises a RunError where that is nothing."""
        if not self._rows:
            raise RunError("no out-of-fold probabilities to tune on: expected those of at least one finished fold.")
        area, predicted, hit, truth, peaks = zip(*self._rows, strict=True)
        return Statistics(
            tuple(self._ids),
            self.levels,
            np.stack(area),
            np.stack(predicted),
            np.stack(hit),
            np.array(truth, dtype=np.int64),
            np.array(peaks, dtype=np.float32),
            None if self._presence[0] is None else np.array(self._presence, dtype=np.float32),
            tuple(self.shapes),
        )


def collect(samples: Iterable[Sample], thresholds: Sequence[float], shapes: Sequence[Shape] = ()) -> Statistics:
    """The statistics of all `samples`, drawn one by one; see `Collector`, also for what is refused."""
    collector = Collector(thresholds, shapes)
    for sample in samples:
        collector.add(sample)
    return collector.statistics()


_Row = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int, np.float32]
"""Of one image: area, predicted, hit, truth, peak."""


def _measure(
    probs: NDArray[np.float32],
    target: NDArray[np.integer[Any]],
    levels: NDArray[np.float32],
    others: Sequence[Shape],
) -> _Row:
    """One image's row: a histogram of the thresholds each pixel exceeds, split by background, foreground, void.

    What PLAIN's masks hold follows from that; the masks of the `others` are made.
    """
    exceeded = np.searchsorted(levels, probs.ravel(), side="left")
    kind = np.where(target == 255, 2, target == 1).ravel()
    bins = len(levels) + 1
    histogram = np.bincount(exceeded + bins * kind, minlength=3 * bins).reshape(3, bins)
    above = histogram[:, :0:-1].cumsum(axis=1)[:, ::-1].astype(np.int64)
    area, predicted, hit = above.sum(axis=0), above[:2].sum(axis=0), above[1]
    if others:
        more = areas_and_counts(probs, target, levels, others).reshape(3, -1)
        area, predicted, hit = (np.append(*pair) for pair in zip((area, predicted, hit), more, strict=True))
    return area, predicted, hit, int(histogram[1].sum()), peak(probs)


def emptied(statistics: Statistics, decision: Decision) -> NDArray[np.bool_]:
    """(N,) whether `decision` empties the image's mask."""
    small = statistics.area[:, statistics.column(decision.threshold, decision.shape)] < decision.min_area
    empty: NDArray[np.bool_] = small | (statistics.peak < np.float32(decision.empty_gate))
    if decision.presence_gate:
        assert statistics.presence is not None, "a gate for presence, which is not stored"
        empty = empty | (statistics.presence < np.float32(decision.presence_gate))
    return empty


def counts_at(statistics: Statistics, decision: Decision) -> Counts:
    """(N, 3) tp, fp, fn of the masks that `decision` gives; its threshold and shape must have been collected."""
    empty = np.stack([np.zeros_like(statistics.truth), np.zeros_like(statistics.truth), statistics.truth], axis=1)
    column = statistics.column(decision.threshold, decision.shape)
    return np.where(emptied(statistics, decision)[:, None], empty, statistics.counts(column))


def tune(statistics: Statistics, config: InferenceConfig) -> TunedDecision:
    """The decision of the grid `thresholds` x `tune` x `min_areas` x `empty_gates` with the best `config.tune_for`.

    Where presence is stored, `presence_gates` are another axis; elsewhere they are left alone. `tune` is three axes,
    those of `Shape`, which must have been collected; by default each holds nothing but 0.

    Of the candidates within `TOLERANCE` of the best it is the one nearest to the neutral decision (0.5, all others 0):
    the sum of the distances, each as a share of the longest on its axis, is smallest; then the lower threshold.
    """
    thresholds, shapes = np.unique(np.array(config.thresholds)), _candidates(config)
    areas, gates = np.unique(np.array(config.min_areas)), np.unique(np.array(config.empty_gates))
    presences = np.unique(np.array([0.0] if statistics.presence is None else config.presence_gates))
    unlocked = _unlocked(statistics, gates, presences)
    columns = [statistics.column(float(level), shape) for level in thresholds for shape in shapes]
    scores = np.stack([_grid(statistics, column, areas, unlocked, config.tune_for) for column in columns])
    scores = scores.reshape(len(thresholds), len(shapes), len(areas), len(gates), len(presences))
    away = (
        _share(np.abs(thresholds - NEUTRAL.threshold))[:, None, None, None, None]
        + _shape_share(shapes)[:, None, None, None]
        + _share(areas - NEUTRAL.min_area)[:, None, None]
        + _share(gates - NEUTRAL.empty_gate)[:, None]
        + _share(presences)
    )
    best = scores.max()
    choice = np.where(scores >= best - TOLERANCE, away, np.inf).argmin()
    threshold, shape, area, gate, presence = np.unravel_index(choice, scores.shape)
    decision = Decision(
        float(thresholds[threshold]),
        int(areas[area]),
        float(gates[gate]),
        None if statistics.presence is None else float(presences[presence]),
        **asdict(shapes[shape]),
    )
    return TunedDecision(decision, float(scores.flat[choice]), float(best))


def _candidates(config: InferenceConfig) -> list[Shape]:
    """Those of `shapes_in` that are candidates: PLAIN is always collected, but the config may leave it out."""
    held = 0 in config.tune.fill_holes and 0 in config.tune.min_component and 0 in config.tune.largest
    return [shape for shape in shapes_in(config) if held or shape != PLAIN]


def _shape_share(shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """(S,) how far each is from PLAIN: the sum of `_share` over its numbers, where keeping few components is far."""
    numbers = np.array([[shape.fill_holes, shape.min_component, shape.largest] for shape in shapes], np.float64)
    numbers[:, 2] = np.divide(1, numbers[:, 2], out=np.zeros(len(shapes)), where=numbers[:, 2] > 0)
    return np.sum([_share(axis) for axis in numbers.T], axis=0)


def _unlocked(
    statistics: Statistics, gates: NDArray[np.float64], presences: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, gates * presences) 1 where an image passes both gates, whatever the threshold; else 0."""
    passed = (statistics.peak[:, None] >= gates.astype(np.float32))[:, :, None]
    if statistics.presence is not None:
        passed = passed & (statistics.presence[:, None] >= presences.astype(np.float32))[:, None, :]
    return passed.reshape(len(statistics.ids), -1).astype(np.float64)


def _grid(
    statistics: Statistics, column: int, areas: NDArray[np.int64], unlocked: NDArray[np.float64], tune_for: str
) -> NDArray[np.float64]:
    """Scores (areas, gates) of the masks of one column.

    An image has one score if kept and one if emptied, and is kept where area and gates both let it pass; so the sums
    over images are products of matrices.
    """
    large = (statistics.area[:, column, None] >= areas).astype(np.float64)
    counts = statistics.counts(column)
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
