"""Whether a tuned decision is taken: only where it gains more than chance may."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from saltern.config.schema import InferenceConfig
from saltern.inference.decide import NEUTRAL, SHAPE_KEYS, Decision
from saltern.inference.halves import clusters_of
from saltern.inference.tune import Statistics, counts_at, tune
from saltern.metrics.noise import mean_interval
from saltern.metrics.values import values_of


@dataclass(frozen=True)
class Choice:
    """The decision that a run takes, and why."""

    decision: Decision
    tuned: Decision
    """The best of the grid on these images."""
    gain: float
    """How much higher `tune_for` is at `tuned` than at the neutral decision, on the very images it was tuned on."""
    standard_error: float | None
    """That of `gain`, from the images (in clusters where there are groups); None where they show no spread: a single
    image, or a single group."""

    @property
    def kept_neutral(self) -> bool:
        """Whether another decision scores higher, but not by more than its standard error."""
        return self.decision != self.tuned

    def to_json(self) -> dict[str, Any]:
        """Its part of `scores.json`: `kept_neutral`, and `tuning` with gain, standard_error and the tuned decision."""
        tuning = {"gain": self.gain, "standard_error": self.standard_error, "decision": self.tuned.to_json()}
        return {"kept_neutral": self.kept_neutral, "tuning": tuning}


def choose(statistics: Statistics, config: InferenceConfig, groups: Mapping[str, str] | None = None) -> Choice:
    """The decision for these images: the best of the grid if its gain exceeds the gain's standard error, else neutral.

    The gain over the neutral decision (0.5, no area, no gates) is the mean of paired differences of the images. On few
    images the best of a large grid is mostly luck and scores lower on others. A grid without the neutral decision has
    nothing to fall back on: its best is taken.

    Args:
        statistics: of the images, with the threshold 0.5.
        config: the grid and the score `tune_for`.
        groups: id → group; images of a group count as one piece. None: each image is its own.
    """
    tuned = tune(statistics, config).decision
    neutral = replace(NEUTRAL, presence_gate=None if statistics.presence is None else 0.0)
    before, after = (values_of(counts_at(statistics, each), config.tune_for) for each in (neutral, tuned))
    change = mean_interval(after - before, clusters_of(statistics.ids, groups))
    error = math.sqrt(change.images) if change.said else None
    taken = tuned
    if _holds_neutral(config, statistics) and (error is None or change.mean <= error):
        taken = neutral
    return Choice(taken, tuned, change.mean, error)


def _holds_neutral(config: InferenceConfig, statistics: Statistics) -> bool:
    axes: list[tuple[float, list[Any]]] = [
        (NEUTRAL.threshold, config.thresholds),
        (NEUTRAL.min_area, config.min_areas),
        (NEUTRAL.empty_gate, config.empty_gates),
        *((getattr(NEUTRAL, key), getattr(config.tune, key)) for key in SHAPE_KEYS),
    ]
    if statistics.presence is not None:
        axes.append((0.0, config.presence_gates))
    return all(value in candidates for value, candidates in axes)
