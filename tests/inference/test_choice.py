"""When a tuned decision is taken: by hand, by force, and by what it is worth on images that were never seen."""

from dataclasses import replace

import numpy as np
import pytest

from saltern.config.choices import MONITORS
from saltern.config.schema import InferenceConfig
from saltern.inference.choice import choose
from saltern.inference.decide import NEUTRAL, Decision
from saltern.inference.tune import Statistics, counts_at, tune
from saltern.metrics.scores import MEAN_OF, PER_IMAGE, iou_dataset, summarise
from saltern.metrics.values import values_of

CONFIG = InferenceConfig()
LEVELS = np.unique(np.array(CONFIG.thresholds, np.float32))


def draw(images: int, random: np.random.Generator) -> Statistics:
    """Forty per cent empty, a few of them with a false mask; 0.5 is near the best threshold, a gate gains little."""
    away = LEVELS - np.float32(0.5)
    salt = random.random(images) < 0.6
    truth = np.where(salt, random.integers(20, 8000, images), 0)
    overlap = random.beta(6, 1.5, images)[:, None] + random.normal(0, 0.3, (images, 1)) * away - 0.5 * away**2
    hit = np.round(truth[:, None] * overlap.clip(0, 1)).astype(np.int64)
    wrong = ~salt & (random.random(images) < 0.06)
    predicted = np.where(wrong[:, None], np.exp(random.uniform(2, 8, (images, 1))).astype(np.int64), hit)
    peak = np.where(salt | wrong, 1 - 0.5 * random.beta(1, np.where(salt, 12, 4)), 0.4).astype(np.float32)
    return Statistics(tuple(map(str, range(images))), LEVELS, predicted, predicted, hit, truth.astype(np.int64), peak)


def jackknife(statistics: Statistics, decision: Decision, score: str, labels: np.ndarray) -> tuple[float, float]:
    """Gain over the neutral decision and its standard error, by leaving out one cluster after another."""

    def gain(rows: np.ndarray) -> float:
        part = statistics.take(rows)
        return summarise(counts_at(part, decision))[score] - summarise(counts_at(part, NEUTRAL))[score]

    left_out = np.array([gain(labels != label) for label in np.unique(labels)])
    count = len(left_out)
    return gain(labels >= 0), float(np.sqrt((count - 1) / count * ((left_out - left_out.mean()) ** 2).sum()))


@pytest.mark.parametrize("score", MONITORS)
@pytest.mark.parametrize("grouped", [False, True])
def test_gain_and_standard_error_are_those_of_a_jackknife(score: str, grouped: bool) -> None:
    statistics, config = draw(60, np.random.default_rng(4)), replace(CONFIG, tune_for=score)
    labels = np.arange(60) // 3 if grouped else np.arange(60)
    groups = {name: f"g{label}" for name, label in zip(statistics.ids, labels, strict=True)} if grouped else None
    choice = choose(statistics, config, groups)
    gain, error = jackknife(statistics, choice.tuned, score, labels)
    assert choice.tuned == tune(statistics, config).decision
    assert choice.gain == pytest.approx(gain)
    assert choice.standard_error == pytest.approx(error, rel=0.1 if score == "iou_dataset" else 0.02)
    assert choice.decision == (NEUTRAL if choice.gain <= choice.standard_error else choice.tuned)


def test_both_answers_come_out_and_are_said() -> None:
    said = [choose(draw(40, np.random.default_rng(seed)), CONFIG) for seed in range(30)]
    kept = [choice for choice in said if choice.kept_neutral]
    assert 3 <= len(kept) <= 27
    assert all(choice.decision == NEUTRAL for choice in kept)
    content = kept[0].to_json()
    assert content["kept_neutral"] is True
    assert content["tuning"]["decision"] == kept[0].tuned.to_json() != NEUTRAL.to_json()
    assert 0 < content["tuning"]["gain"] <= content["tuning"]["standard_error"]


def test_a_gain_that_every_image_has_is_taken_and_one_of_a_single_image_is_not() -> None:
    """By hand: at 0.4 each of two images overlaps fully, at 0.5 by half."""
    levels, full = np.array([0.4, 0.5], np.float32), np.array([100, 120])
    hit = np.stack([full, full // 2], axis=1)
    statistics = Statistics(("a", "b"), levels, hit, hit, hit, full, np.ones(2, np.float32))
    config = InferenceConfig(tune_for="iou_image", thresholds=[0.4, 0.5], min_areas=[0], empty_gates=[0.0])
    both = choose(statistics, config)
    assert (both.decision, both.gain, both.standard_error) == (Decision(0.4), 0.5, 0.0)
    alone = choose(statistics.take(np.array([True, False])), config)
    assert alone.decision == NEUTRAL
    assert (alone.kept_neutral, alone.gain, alone.standard_error) == (True, 0.5, None)
    one_group = choose(statistics, config, {"a": "g", "b": "g"})
    assert (one_group.decision, one_group.standard_error) == (NEUTRAL, None)
    elsewhere = choose(statistics.take(np.array([True, False])), replace(config, thresholds=[0.4]))
    assert elsewhere.decision == Decision(0.4), "a grid without the neutral decision stays within the grid"


def test_where_presence_is_stored_the_neutral_decision_has_a_gate_that_is_open() -> None:
    statistics = replace(draw(1, np.random.default_rng(0)), presence=np.array([0.9], np.float32))
    assert choose(statistics, CONFIG).decision == replace(NEUTRAL, presence_gate=0.0)


def test_forty_images_lose_nothing_by_it_on_the_images_to_come() -> None:
    """Plainly tuned they lose 0.002 and more on average, since there is little to gain."""
    random = np.random.default_rng(0)
    to_come = draw(6000, random)

    def worth(decision: Decision) -> float:
        return summarise(counts_at(to_come, decision))["precision_tgs"] - at_neutral

    at_neutral = summarise(counts_at(to_come, NEUTRAL))["precision_tgs"]
    choices = [choose(draw(40, random), CONFIG) for _ in range(200)]
    assert np.mean([worth(choice.tuned) for choice in choices]) < -0.002
    assert np.mean([worth(choice.decision) for choice in choices]) > -0.001


def test_values_have_the_score_as_their_mean() -> None:
    counts = counts_at(draw(50, np.random.default_rng(1)), NEUTRAL)
    for score in MONITORS:
        by_hand = iou_dataset(counts) if score == "iou_dataset" else PER_IMAGE[MEAN_OF[score]](counts).mean()
        assert values_of(counts, score).mean() == pytest.approx(by_hand)
