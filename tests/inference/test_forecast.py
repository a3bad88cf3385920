"""The forecast: by hand, and whether it holds in drawn competitions."""

import numpy as np
import pytest
from scipy import stats

from saltern.inference.forecast import Evidence, forecast
from saltern.metrics.noise import RETRAIN_SD


def evidence(values: np.ndarray, alike: int = 1, folds: int = 1) -> Evidence:
    rows = np.arange(len(values))
    return Evidence(values, rows // alike, rows * folds // len(values))


def salt(images: int, random: np.random.Generator, mean: float = 0.812, sd: float = 0.33) -> np.ndarray:
    """Values with exactly this mean and spread, most of them near 1."""
    values = np.where(random.random(images) < 0.82, random.beta(9, 1, images), 0)
    return mean + sd * (values - values.mean()) / values.std(ddof=1)


def test_fold_0_of_tgs_is_about_three_and_a_half_points_to_either_side() -> None:
    found = forecast(evidence(salt(640, np.random.default_rng(0))), 0.812, 800)
    half = (found["high"] - found["low"]) / 2
    assert half == pytest.approx(0.035, abs=0.003)
    by_hand = stats.t.ppf(0.975, 639) * np.sqrt(0.33**2 / 640 + 0.33**2 / 800 + RETRAIN_SD**2)
    assert half == pytest.approx(by_hand)
    assert found["parts"] == pytest.approx(
        {"images": 0.33**2 / 640, "folds": 0.0, "seeds": RETRAIN_SD**2, "test_images": 0.33**2 / 800}
    )
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
    assert 0 < five["parts"]["folds"] < one["parts"]["seeds"]
    grouped = forecast(evidence(values, alike=5), 0.8, 800)
    for part in ("images", "test_images"):
        assert grouped["parts"][part] == pytest.approx(5 * one["parts"][part], rel=0.05)


def test_a_single_image_or_group_says_nothing_and_equal_images_leave_the_training() -> None:
    assert forecast(evidence(np.array([0.5])), 0.5, 10) is None
    assert forecast(evidence(np.linspace(0, 1, 8), alike=8), 0.5, 10) is None
    equal = forecast(evidence(np.ones(8)), 1.0, 10)
    assert (equal["parts"]["images"], equal["parts"]["test_images"]) == (0.0, 0.0)
    assert equal["low"] < equal["high"] == 1.0


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
