"""Holes and components against scipy, and the joint search against every candidate decided pixel by pixel."""

import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from saltern.config.choices import MONITORS
from saltern.config.schema import InferenceConfig, ShapesConfig
from saltern.errors import RunError
from saltern.inference.choice import choose
from saltern.inference.decide import NEUTRAL, Decision, decide, read_decision, write_decision
from saltern.inference.shapes import PLAIN, Shape, filled, shaped, shapes_in
from saltern.inference.tune import Sample, Statistics, collect, counts_at, tune
from saltern.metrics.scores import count_pixels, summarise

ON = ShapesConfig(fill_holes=[0, 3, 10**6], min_component=[0, 4], largest=[0, 1, 2])
CONFIG = InferenceConfig(
    thresholds=[0.35, 0.5], min_areas=[0, 12], empty_gates=[0.0, 0.8], presence_gates=[0.0, 0.4], tune=ON
)


def shaped_by_force(mask: np.ndarray, shape: Shape) -> np.ndarray:
    """scipy's components, one by one; a hole is what scipy's own filling adds."""
    if shape.fill_holes:
        holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask.astype(bool))
        mask = mask.copy()
        for number in range(1, count + 1):
            if (holes == number).sum() <= shape.fill_holes:
                mask[holes == number] = 1
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    areas = {number: int((labels == number).sum()) for number in range(1, count + 1)}
    kept = np.zeros_like(mask)
    for number, area in areas.items():
        larger = sum(other > area for other in areas.values())
        if area >= shape.min_component and (not shape.largest or larger < shape.largest):
            kept[labels == number] = 1
    return kept


def blots(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Probabilities (H, W) with regions, islands and holes of a few pixels."""
    return np.clip(0.5 + 0.9 * ndimage.gaussian_filter(rng.normal(size=size), 0.8), 0, 1).astype(np.float32)


def draw(n: int = 16, seed: int = 0, *, presence: bool = False) -> list[Sample]:
    """Images of different sizes, some empty, some with void; the truth is smoother than what is said of it."""
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(n):
        size = (int(rng.integers(6, 15)), int(rng.integers(6, 15)))
        smooth = ndimage.gaussian_filter(rng.normal(size=size), 2.0)
        target = (smooth > (0 if number % 4 else 9)).astype(np.uint8)
        probs = np.clip(0.3 + 0.3 * target + 0.4 * (blots(rng, size) - 0.5), 0, 1).astype(np.float16)
        if number % 3 == 1:
            target[rng.random(size) < 0.2] = 255
        samples.append(Sample(f"{number:03}", probs, target, float(np.float32(rng.random())) if presence else None))
    return samples


def by_force(sample: Sample, decision: Decision) -> tuple[int, int, int]:
    mask = shaped_by_force((sample.probs.astype(np.float32) > np.float32(decision.threshold)).astype(np.uint8),
                           Shape(decision.fill_holes, decision.min_component, decision.largest))  # fmt: skip
    gates = sample.probs.astype(np.float32).max() < np.float32(decision.empty_gate)
    if decision.presence_gate:
        gates |= np.float32(sample.presence) < np.float32(decision.presence_gate)
    return count_pixels(mask * int(mask.sum() >= decision.min_area and not gates), sample.target)


def candidates(presence: bool) -> list[Decision]:
    axes = (CONFIG.thresholds, CONFIG.min_areas, CONFIG.empty_gates, CONFIG.presence_gates if presence else [None])
    return [Decision(*numbers) for numbers in product(*axes, ON.fill_holes, ON.min_component, ON.largest)]


def test_shapes_are_those_of_scipy() -> None:
    rng, changed = np.random.default_rng(1), 0
    for _ in range(150):
        mask = (blots(rng, (int(rng.integers(1, 16)), int(rng.integers(1, 16)))) > 0.5).astype(np.uint8)
        shape = Shape(*(int(rng.choice(values)) for values in ([0, 1, 3, 10**6], [0, 2, 6], [0, 1, 2, 3])))
        np.testing.assert_array_equal(shaped(mask, shape), shaped_by_force(mask, shape))
        changed += int((shaped(mask, shape) != mask).any())
    assert changed > 50


def test_by_hand_a_ring_keeps_its_island_and_ties_stay_together() -> None:
    ring = np.ones((5, 5), np.uint8)
    ring[1:4, 1:4] = 0
    assert filled(ring, 9).all()
    assert filled(ring, 8).sum() == 16, "the hole has nine pixels"
    island = ring.copy()
    island[2, 2] = 1
    assert shaped(island, Shape(min_component=2)).sum() == 16
    assert shaped(island, Shape(fill_holes=8, min_component=2)).sum() == 25, "holes are filled first"
    diagonal = np.eye(3, dtype=np.uint8)
    assert shaped(diagonal, Shape(min_component=3)).sum() == 3, "a corner connects"
    pairs = np.array([[1, 1, 0, 1, 1, 0, 1]], np.uint8)
    assert shaped(pairs, Shape(largest=1)).tolist() == [[1, 1, 0, 1, 1, 0, 0]], "two are the largest"
    open_to_the_border = np.array([[1, 1, 1], [1, 0, 1], [1, 0, 1]], np.uint8)
    assert filled(open_to_the_border, 100).sum() == 7
    for size in ((0, 0), (1, 1), (3, 0)):
        assert shaped(np.zeros(size, np.uint8), Shape(5, 5, 5)).shape == size


@pytest.mark.parametrize("presence", [False, True])
def test_statistics_give_the_counts_of_every_shape(presence: bool) -> None:
    samples = draw(presence=presence)
    statistics = collect(iter(samples), CONFIG.thresholds, shapes_in(CONFIG))
    odd = statistics.take(np.arange(len(samples)) % 2 == 1)
    for decision in candidates(presence):
        expected = [by_force(sample, decision) for sample in samples]
        np.testing.assert_array_equal(counts_at(statistics, decision), expected)
        np.testing.assert_array_equal(counts_at(odd, decision), expected[1::2])
        decided = [count_pixels(decide(each.probs, decision, each.presence), each.target) for each in samples]
        assert [list(row) for row in decided] == [list(row) for row in expected]


@pytest.mark.parametrize("score", MONITORS)
@pytest.mark.parametrize("presence", [False, True])
def test_the_joint_search_is_exact(score: str, presence: bool) -> None:
    samples, config = draw(seed=3, presence=presence), replace(CONFIG, tune_for=score)
    tuned = tune(collect(samples, config.thresholds, shapes_in(config)), config)
    found = {each: summarise(np.array([by_force(sample, each) for sample in samples]))[score]
             for each in candidates(presence)}  # fmt: skip
    assert tuned.best == pytest.approx(max(found.values()))
    assert tuned.score == pytest.approx(found[tuned.decision])
    plain = max(value for each, value in found.items() if each.shape == PLAIN)
    assert tuned.best > plain, "shapes are worth something here, or the test shows nothing"


def test_off_nothing_is_searched_and_a_decision_has_the_keys_of_before() -> None:
    samples = draw()
    off = InferenceConfig(thresholds=[0.35, 0.5])
    assert shapes_in(off) == [PLAIN]
    statistics = collect(samples, off.thresholds)
    assert statistics.area.shape == (16, 2)
    assert tune(statistics, off).decision.to_json().keys() == {"threshold", "min_area", "empty_gate"}
    assert choose(collect(samples, CONFIG.thresholds, shapes_in(CONFIG)), CONFIG).tuned.shape in shapes_in(CONFIG)


def test_a_grid_without_the_plain_shape_stays_within_the_grid() -> None:
    config = replace(CONFIG, tune=ShapesConfig(largest=[1]))
    chosen = choose(collect(draw(), config.thresholds, shapes_in(config)), config)
    assert chosen.decision == chosen.tuned
    assert chosen.tuned.largest == 1


def test_of_equals_the_plain_one_is_taken_and_keeping_many_is_nearer_to_it_than_keeping_one() -> None:
    full = Sample("a", np.full((4, 4), 0.9, np.float32), np.ones((4, 4), np.uint8))
    statistics = collect([full], CONFIG.thresholds, shapes_in(CONFIG))
    assert tune(statistics, CONFIG).decision == NEUTRAL
    config = replace(CONFIG, tune=ShapesConfig(largest=[1, 2, 5]))
    assert tune(collect([full], config.thresholds, shapes_in(config)), config).decision.largest == 5


def test_a_decision_with_a_shape_survives_its_file_and_nonsense_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decision.json"
    for decision in (
        Decision(0.4, fill_holes=9),
        Decision(largest=2, min_component=7),
        Decision(0.4, 5, 0.2, 0.1, 1, 2),
    ):
        write_decision(path, decision)
        assert read_decision(path) == decision
    for key, value in (("fill_holes", "true"), ("largest", "-1"), ("min_component", "2.5")):
        path.write_text(f'{{"threshold": 0.5, "min_area": 0, "empty_gate": null, "{key}": {value}}}')
        with pytest.raises(RunError, match=rf"decision\.json: {key}=.*expected a whole number, 0 or more"):
            read_decision(path)


def test_a_hundred_thresholds_and_twenty_areas_of_four_thousand_images_are_searched_in_seconds() -> None:
    rng, images = np.random.default_rng(0), 4000
    config = InferenceConfig(thresholds=[level / 200 for level in range(50, 150)], min_areas=[*range(0, 200, 10)])
    area = np.sort(rng.integers(0, 10_000, (images, 100)), axis=1)[:, ::-1]
    truth = rng.integers(0, 10_000, images) * (rng.random(images) < 0.6)
    levels = np.array(config.thresholds, np.float32)
    hit, peak = np.minimum(area, truth[:, None]), rng.random(images).astype(np.float32)
    statistics = Statistics(tuple(map(str, range(images))), levels, area, area, hit, truth, peak)
    begun = time.process_time()
    tuned = tune(statistics, config)
    assert time.process_time() - begun < 10, "two cores at most; measured in benchmarks/ensembles.py"
    assert tuned.score == pytest.approx(summarise(counts_at(statistics, tuned.decision))["precision_tgs"])
