"""Tuning against brute force: every candidate decided on the probabilities themselves and scored pixel by pixel."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from saltern.config.choices import MONITORS
from saltern.config.schema import InferenceConfig
from saltern.errors import RunError
from saltern.inference.decide import NEUTRAL, Decision, decide
from saltern.inference.tune import TOLERANCE, Sample, Statistics, collect, counts_at, tune
from saltern.metrics.scores import count_pixels, summarise

CONFIG = InferenceConfig(
    thresholds=[0.3, 0.5, 0.4, 0.7],
    min_areas=[0, 6, 20],
    empty_gates=[0.0, 0.6, 0.9],
    presence_gates=[0.4, 0.0, 0.25],
)


def draw(n: int = 30, seed: int = 0, *, presence: bool = False) -> list[Sample]:
    """Images of different sizes: a third empty, void in some, probabilities that are unsure and biased low.

    `presence` is unsure as well; that of some lies exactly on a candidate for its gate.
    """
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
        certain = float(np.float32(np.clip(0.3 * (number % 3 > 0) + rng.normal(0.2, 0.15), 0, 1)))
        present = 0.25 if number % 7 == 0 else 0.4 if number % 7 == 1 else certain
        samples.append(Sample(f"{number:03}", probs, target, present if presence else None))
    return samples


def scores_by_force(samples: list[Sample], decision: Decision) -> dict[str, float]:
    return summarise(np.array([counts_by_force(sample, decision) for sample in samples]))


def counts_by_force(sample: Sample, decision: Decision) -> tuple[int, int, int]:
    return count_pixels(decide(sample.probs, decision, sample.presence), sample.target)


def candidates(config: InferenceConfig, presence: bool) -> Iterator[Decision]:
    gates = config.presence_gates if presence else [None]
    for numbers in product(config.thresholds, config.min_areas, config.empty_gates, gates):
        yield Decision(*numbers)


@pytest.mark.parametrize("presence", [False, True])
def test_statistics_give_the_counts_of_every_decision(presence: bool) -> None:
    samples = draw(presence=presence)
    statistics = collect(iter(samples), CONFIG.thresholds)
    for decision in [NEUTRAL, *candidates(CONFIG, presence)]:
        expected = [counts_by_force(sample, decision) for sample in samples]
        np.testing.assert_array_equal(counts_at(statistics, decision), expected)


def test_probabilities_exactly_on_a_threshold_are_counted_as_they_are_decided() -> None:
    levels = [0.1, 0.2, 0.3, 0.7]
    values = np.array([[np.float32(level) for level in levels], [np.float16(level) for level in levels]], np.float32)
    target = np.ones_like(values, np.uint8)
    statistics = collect([Sample("a", values, target)], levels)
    for level in levels:
        decision = Decision(level)
        assert counts_at(statistics, decision)[0].tolist() == list(count_pixels(decide(values, decision), target))


@pytest.mark.parametrize("score", MONITORS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("presence", [False, True])
def test_the_tuned_decision_is_the_best_of_the_grid(score: str, seed: int, presence: bool) -> None:
    samples = draw(seed=seed, presence=presence)
    config = replace(CONFIG, tune_for=score)
    tuned = tune(collect(samples, config.thresholds), config)
    by_force = {decision: scores_by_force(samples, decision)[score] for decision in candidates(config, presence)}
    assert tuned.best == pytest.approx(max(by_force.values()))
    assert tuned.score == pytest.approx(by_force[tuned.decision])
    assert tuned.score >= tuned.best - TOLERANCE
    assert tuned.best > scores_by_force(samples, NEUTRAL)[score]


def test_among_equals_the_one_nearest_to_neutral_is_taken() -> None:
    probs = np.where(np.eye(8) > 0, 0.97, 0.03).astype(np.float32)
    config = InferenceConfig()
    sample = Sample("a", probs, np.eye(8, dtype=np.uint8))
    tuned = tune(collect([sample], config.thresholds), config)
    assert tuned.decision == NEUTRAL
    assert tuned.score == 1
    certain = tune(collect([sample._replace(presence=0.99)], config.thresholds), config)
    assert certain.decision == replace(NEUTRAL, presence_gate=0.0)


def test_presence_alone_tells_an_empty_image_that_pixels_take_for_a_full_one() -> None:
    """By hand: of the gates 0.1 … 0.5, only those above 0.3 empty the second image; the nearest of them is 0.4."""
    probs = np.where(np.eye(8) > 0, 0.97, 0.03).astype(np.float32)
    full, empty = (
        Sample("a", probs, np.eye(8, dtype=np.uint8), 0.9),
        Sample("b", probs, np.zeros((8, 8), np.uint8), 0.3),
    )
    for score in MONITORS:
        config = InferenceConfig(tune_for=score)
        tuned = tune(collect([full, empty], config.thresholds), config)
        assert tuned.decision == Decision(0.5, 0, 0.0, 0.4)
        assert tuned.score == 1


def test_without_stored_presence_its_gates_are_left_alone() -> None:
    samples = draw()
    without = tune(collect(samples, CONFIG.thresholds), CONFIG)
    other = tune(collect(samples, CONFIG.thresholds), replace(CONFIG, presence_gates=[0.9]))
    assert without == other
    assert without.decision.presence_gate is None


def test_four_thousand_images_are_searched_in_seconds() -> None:
    """The grid of 31 x 8 x 6 x 6, on a core that may be busy."""
    config, images = InferenceConfig(), 4000
    assert (len(config.thresholds), len(config.min_areas)) == (31, 8)
    assert (len(config.empty_gates), len(config.presence_gates)) == (6, 6)
    rng = np.random.default_rng(0)
    area = np.sort(rng.integers(0, 10_000, (images, 31)), axis=1)[:, ::-1]
    truth = rng.integers(0, 10_000, images) * (rng.random(images) < 0.6)
    hit = np.minimum(area, truth[:, None])
    peak, presence = rng.random((2, images)).astype(np.float32)
    levels = np.array(config.thresholds, np.float32)
    statistics = Statistics(tuple(map(str, range(images))), levels, area, area, hit, truth, peak, presence)
    begun = time.monotonic()
    tuned = tune(statistics, config)
    assert time.monotonic() - begun < 5
    assert tuned.score == pytest.approx(summarise(counts_at(statistics, tuned.decision))["precision_tgs"])


def test_nearness_weighs_each_axis_by_its_length() -> None:
    target = np.zeros((4, 4), np.uint8)
    probs = np.full((4, 4), 0.1, np.float32)
    probs[0, 0] = 0.55
    config = InferenceConfig(thresholds=[0.4, 0.5, 0.6, 0.9], min_areas=[0, 100], empty_gates=[0.0, 0.9])
    tuned = tune(collect([Sample("a", probs, target)], config.thresholds), config)
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
        collect([Sample("x", good, np.zeros((2, 3), np.uint8))], [0.5])
    with pytest.raises(RunError, match="'x': probabilities from nan"):
        collect([Sample("x", good * np.nan, np.zeros((2, 2), np.uint8))], [0.5])
    half = [Sample("x", good, np.zeros((2, 2), np.uint8), 0.5), Sample("y", good, np.zeros((2, 2), np.uint8))]
    with pytest.raises(RunError, match="'x' and 'y': presence is stored for one of the two"):
        collect(half, [0.5])
