"""The forecast: by hand, and whether it holds in drawn competitions."""

import numpy as np
import pytest
from scipy import stats

from saltern.inference.forecast import Evidence, _lean, forecast
from saltern.metrics.noise import RETRAIN_DF, RETRAIN_SD


def evidence(values: np.ndarray, alike: int = 1, folds: int = 1) -> Evidence:
    rows = np.arange(len(values))
    return Evidence(values, rows // alike, rows * folds // len(values))


def salt(images: int, random: np.random.Generator, mean: float = 0.812, sd: float = 0.33) -> np.ndarray:
    """Values with exactly this mean and spread, most of them near 1."""
    values = np.where(random.random(images) < 0.82, random.beta(9, 1, images), 0)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


@pytest.fixture
def rng_of_draws() -> np.random.Generator:
    return np.random.default_rng(5)


def test_fold_0_of_tgs_is_about_three_and_a_half_points_to_either_side() -> None:
    found = forecast(evidence(salt(640, np.random.default_rng(0))), 0.812, 800)
    half = (found["high"] - found["low"]) / 2
    assert half == pytest.approx(0.035, abs=0.003)
    images, test = 0.33**2 / 640, 0.33**2 / 800
    assert half == pytest.approx(stats.t.ppf(0.975, 639) * np.sqrt(images + test), rel=0.01), "it leans a little"
    assert 0.812 - found["low"] > found["high"] - 0.812
    assert found["parts"] == pytest.approx({"images": images, "folds": 0.0, "seeds": 0.0, "test_images": test})
    twice = 2 * RETRAIN_SD**2
    assert found["again"]["parts"] == pytest.approx({**found["parts"], "seeds": twice})
    whole = images + test + twice
    quantile = (stats.t.ppf(0.975, 639) * (images + test) + stats.t.ppf(0.975, RETRAIN_DF) * twice) / whole
    again = (found["again"]["high"] - found["again"]["low"]) / 2
    assert again == pytest.approx(quantile * np.sqrt(whole), rel=0.01)
    assert (found["score"], found["images"]) == (0.812, 800)
    assert "public" not in found


def test_a_public_part_is_wider_and_no_bound_leaves_the_scores() -> None:
    values = salt(200, np.random.default_rng(1), mean=0.97, sd=0.1)
    found = forecast(evidence(values), 0.97, 100, 10)
    public = found["public"]
    assert public["images"] == 10
    assert public["low"] < found["low"]
    assert found["high"] <= public["high"] == 1.0
    assert public["parts"]["test_images"] == pytest.approx(10 * found["parts"]["test_images"])


def test_folds_share_the_part_of_training_and_groups_widen_that_of_the_images() -> None:
    values = np.repeat(salt(64, np.random.default_rng(2)), 5)
    one, five = (forecast(evidence(values, folds=folds), 0.8, 800) for folds in (1, 5))
    assert one["parts"]["folds"] == five["parts"]["seeds"] == 0.0
    assert 0 < five["again"]["parts"]["folds"] < one["again"]["parts"]["seeds"]
    grouped = forecast(evidence(values, alike=5), 0.8, 800)
    for part in ("images", "test_images"):
        assert grouped["parts"][part] == pytest.approx(5 * one["parts"][part], rel=0.05)


def test_a_single_image_or_group_says_nothing_and_neither_do_equal_images() -> None:
    assert forecast(evidence(np.array([0.5])), 0.5, 10) is None
    assert forecast(evidence(np.linspace(0, 1, 8), alike=8), 0.5, 10) is None
    assert forecast(evidence(np.ones(8)), 1.0, 10) is None, "eight images that score 1 do not promise 1"


def test_a_public_part_is_a_draw_without_replacement_from_the_test(rng_of_draws: np.random.Generator) -> None:
    """By brute force: groups of 5, a test of 100, a public part of 30 of these images."""
    labelled = np.repeat(rng_of_draws.normal(0.5, 0.1, 400), 5) + rng_of_draws.normal(0, 0.1, 2000)
    found = forecast(evidence(labelled, alike=5), 0.5, 100, 30)["public"]["parts"]["test_images"]
    means = []
    for _ in range(4000):
        test = np.repeat(rng_of_draws.normal(0.5, 0.1, 20), 5) + rng_of_draws.normal(0, 0.1, 100)
        means.append(rng_of_draws.permutation(test)[:30].mean())
    assert found == pytest.approx(np.var(means), rel=0.1)


def test_the_lean_of_a_difference_of_two_means_is_that_of_its_redraws(rng_of_draws: np.random.Generator) -> None:
    """The Edgeworth term by brute force: how much more often the studentised difference falls to one side."""
    count, test, point = 60, 120, 1.7
    drawn = rng_of_draws.exponential(1.0, (100_000, count))
    error = drawn.mean(axis=1) - rng_of_draws.gamma(test, 1 / test, 100_000)
    ratio = count / test
    studentised = error / (drawn.std(axis=1, ddof=1) * np.sqrt((1 + ratio) / count))
    third = 2 / count**2
    skew = _lean(third, third * ratio**2, ratio, point) / ((1 + ratio) / count) ** 1.5
    expected = skew * (2 * point**2 + 1) / 6 * 2 * stats.norm.pdf(point)
    assert (studentised < -point).mean() - (studentised > point).mean() == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("alike", "test_images"), [(1, 500), (1, 60), (6, 600)])
def test_nineteen_of_twenty_forecasts_hold(alike: int, test_images: int) -> None:
    """300 competitions: images in clusters of equal size in both sets, and a network that was trained once."""
    random, held = np.random.default_rng(7), 0

    def images(count: int) -> np.ndarray:
        shared = np.repeat(random.normal(0, 0.15 if alike > 1 else 0.0, count // alike), alike)
        return 0.7 + shared + random.normal(0, 0.2, count)

    for _ in range(300):
        labelled, shown = images(300), float(images(test_images).mean())
        found = forecast(evidence(labelled, alike=alike), float(labelled.mean()), test_images)
        held += found["low"] <= shown <= found["high"]
    assert 0.92 <= held / 300 <= 0.99
