"""Tuning against brute force: every candidate decided on the probabilities themselves and scored pixel by pixel."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest

from saltern.config.choices import MONITORS
from saltern.config.schema import InferenceConfig
from saltern.errors import RunError
from saltern.inference.decide import NEUTRAL, Decision, decide
from saltern.inference.tune import TOLERANCE, Sample, collect, counts_at, tune
from saltern.metrics.scores import count_pixels, summarise

CONFIG = InferenceConfig(thresholds=[0.3, 0.5, 0.4, 0.7], min_areas=[0, 6, 20], empty_gates=[0.0, 0.6, 0.9])


def draw(n: int = 30, seed: int = 0) -> list[Sample]:
    """Images of different sizes: a third empty, void in some, probabilities that are unsure and biased low."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(n):
        size = (int(rng.integers(4, 12)), int(rng.integers(4, 12)))
        target = (rng.random(size) < (0 if number % 3 == 0 else rng.choice([0.1, 0.7]))).astype(np.uint8)
        probs = np.clip(0.15 + 0.35 * target + rng.normal(0, 0.15, size), 0, 1).astype(
            rng.choice([np.float16, np.float32])
        )
        if number % 4 == 1:
            target[rng.random(size) < 0.3] = 255
        samples.append((f"{number:03}", probs, target))
    return samples


def scores_by_force(samples: list[Sample], decision: Decision) -> dict[str, float]:
    return summarise(np.array([count_pixels(decide(probs, decision), target) for _, probs, target in samples]))


def candidates(config: InferenceConfig) -> Iterator[Decision]:
    for threshold, area, gate in product(config.thresholds, config.min_areas, config.empty_gates):
        yield Decision(threshold, area, gate)


def test_statistics_give_the_counts_of_every_decision() -> None:
    samples = draw()
    statistics = collect(iter(samples), CONFIG.thresholds)
    for decision in [NEUTRAL, *candidates(CONFIG)]:
        expected = [count_pixels(decide(probs, decision), target) for _, probs, target in samples]
        np.testing.assert_array_equal(counts_at(statistics, decision), expected)


def test_probabilities_exactly_on_a_threshold_are_counted_as_they_are_decided() -> None:
    levels = [0.1, 0.2, 0.3, 0.7]
    values = np.array([[np.float32(level) for level in levels], [np.float16(level) for level in levels]], np.float32)
    target = np.ones_like(values, np.uint8)
    statistics = collect([("a", values, target)], levels)
    for level in levels:
        decision = Decision(level)
        assert counts_at(statistics, decision)[0].tolist() == list(count_pixels(decide(values, decision), target))


@pytest.mark.parametrize("score", MONITORS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_tuned_decision_is_the_best_of_the_grid(score: str, seed: int) -> None:
    samples = draw(seed=seed)
    config = InferenceConfig(
        thresholds=CONFIG.thresholds, min_areas=CONFIG.min_areas, empty_gates=CONFIG.empty_gates, tune_for=score
    )
    tuned = tune(collect(samples, config.thresholds), config)
    by_force = {decision: scores_by_force(samples, decision)[score] for decision in candidates(config)}
    assert tuned.best == pytest.approx(max(by_force.values()))
    assert tuned.score == pytest.approx(by_force[tuned.decision])
    assert tuned.score >= tuned.best - TOLERANCE
    assert tuned.best > scores_by_force(samples, NEUTRAL)[score]


def test_among_equals_the_one_nearest_to_neutral_is_taken() -> None:
    probs = np.where(np.eye(8) > 0, 0.97, 0.03).astype(np.float32)
    config = InferenceConfig()
    tuned = tune(collect([("a", probs, np.eye(8, dtype=np.uint8))], config.thresholds), config)
    assert tuned.decision == NEUTRAL
    assert tuned.score == 1


def test_nearness_weighs_each_axis_by_its_length() -> None:
    target = np.zeros((4, 4), np.uint8)
    probs = np.full((4, 4), 0.1, np.float32)
    probs[0, 0] = 0.55
    config = InferenceConfig(thresholds=[0.4, 0.5, 0.6, 0.9], min_areas=[0, 100], empty_gates=[0.0, 0.9])
    tuned = tune(collect([("a", probs, target)], config.thresholds), config)
    assert tuned.decision == Decision(0.6)


def test_a_grid_without_the_neutral_decision_stays_within_the_grid() -> None:
    config = InferenceConfig(thresholds=[0.3], min_areas=[5], empty_gates=[0.6])
    statistics = collect(draw(), config.thresholds)
    assert tune(statistics, config).decision == Decision(0.3, 5, 0.6)
    assert statistics.thresholds.tolist() == pytest.approx([0.3, 0.5])


def test_nothing_to_tune_on_and_unfit_samples_are_refused_by_name() -> None:
    good = np.full((2, 2), 0.5, np.float32)
    with pytest.raises(RunError, match="no out-of-fold probabilities"):
        collect([], [0.5])
    with pytest.raises(RunError, match=r"'x': probabilities \(2, 2\), target \(2, 3\)"):
        collect([("x", good, np.zeros((2, 3), np.uint8))], [0.5])
    with pytest.raises(RunError, match="'x': probabilities from nan"):
        collect([("x", good * np.nan, np.zeros((2, 2), np.uint8))], [0.5])
