"""The noise model against hand values, textbook intervals and a bootstrap over clusters."""

import math

import numpy as np
import pytest
from scipy import stats

from saltern.metrics.differences import Ground
from saltern.metrics.intervals import interval_of
from saltern.metrics.noise import (
    RETRAIN_DF,
    RETRAIN_SD,
    Retrain,
    iou_dataset_values,
    learned,
    mean_interval,
    seeds_needed,
)
from saltern.metrics.scores import iou_dataset

STEADY = Retrain(0.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def cluster_bootstrap(values: np.ndarray, clusters: np.ndarray, draws: int = 4000) -> float:
    """Standard error of the mean over redraws of whole clusters."""
    parts = [values[clusters == label] for label in np.unique(clusters)]
    sums, sizes = np.array([part.sum() for part in parts]), np.array([len(part) for part in parts])
    rows = np.random.default_rng(1).integers(0, len(parts), (draws, len(parts)))
    return float((sums[rows].sum(axis=1) / sizes[rows].sum(axis=1)).std())


def test_single_images_give_the_t_interval_of_the_textbook() -> None:
    values = np.array([0.2, 0.5, 0.9, 0.4, 0.7])
    found = mean_interval(values, retrain=STEADY, lean=False)
    expected = stats.t.interval(0.95, 4, values.mean(), values.std(ddof=1) / math.sqrt(5))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.clusters == 5


def test_clusters_of_one_size_are_a_t_interval_of_their_means(rng: np.random.Generator) -> None:
    means = rng.normal(0.5, 0.1, 7)
    values, clusters = np.repeat(means, 3), np.repeat(list("abcdefg"), 3)
    found = mean_interval(values, clusters, retrain=STEADY, lean=False)
    expected = stats.t.interval(0.95, 6, means.mean(), means.std(ddof=1) / math.sqrt(7))
    assert (found.low, found.high) == pytest.approx(expected)


def test_clusters_of_unequal_size_by_hand() -> None:
    found = mean_interval([1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0, 0, 1, 1, 1, 2], retrain=STEADY)
    sums, sizes = np.array([4 / 3, -1.0, -1 / 3]), np.array([2, 3, 1])
    assert found.mean == pytest.approx(1 / 3)
    assert found.images == pytest.approx((sums**2 / (1 - sizes / 6)).sum() / 36)


def test_the_cluster_variance_is_unbiased_for_unequal_sizes(rng: np.random.Generator) -> None:
    clusters = np.repeat(np.arange(6), [1, 2, 3, 5, 8, 13])
    found = [mean_interval(rng.normal(size=32), clusters, retrain=STEADY).images for _ in range(3000)]
    assert np.mean(found) == pytest.approx(1 / 32, rel=0.05)


def test_the_standard_error_agrees_with_a_bootstrap_over_clusters(rng: np.random.Generator) -> None:
    clusters = rng.integers(0, 60, 600)
    values = rng.normal(0, 1, 60)[clusters] + rng.normal(0, 1, 600)
    found = mean_interval(values, clusters, retrain=STEADY)
    assert found.se == pytest.approx(cluster_bootstrap(values, clusters), rel=0.08)
    assert found.se > 2 * mean_interval(values, retrain=STEADY).se


def test_an_interval_leans_as_a_skewed_sample_does(rng: np.random.Generator) -> None:
    values = 1 - rng.exponential(0.1, 30)
    found, even = mean_interval(values, retrain=STEADY), mean_interval(values, retrain=STEADY, lean=False)
    assert found.mean - found.low > found.high - found.mean
    assert (even.mean - even.low) == pytest.approx(even.high - even.mean)
    assert found.se == even.se


def test_a_retrain_is_added_and_shared_among_folds(rng: np.random.Generator) -> None:
    values, folds = rng.uniform(0, 1, 1000), np.arange(1000) % 5
    single, five = mean_interval(values), mean_interval(values, folds=folds)
    assert single.retrain == pytest.approx(RETRAIN_SD**2)
    assert five.retrain == pytest.approx(RETRAIN_SD**2 / 5, rel=0.1)
    assert single.se**2 == pytest.approx(values.var(ddof=1) / 1000 + RETRAIN_SD**2)
    assert Ground(np.array([0, 0, 1])).share == pytest.approx(5 / 9)


def test_folds_that_lie_apart_tell_of_a_large_retrain(rng: np.random.Generator) -> None:
    folds = np.repeat(np.arange(5), 2000)
    apart = rng.normal(0, 0.05, 5)[folds] + rng.normal(0, 0.05, 10_000)
    even = rng.normal(0, 0.05, 10_000)
    assert learned(apart, folds=folds).sd > 2 * RETRAIN_SD
    assert learned(even, folds=folds).sd < 0.8 * RETRAIN_SD


def test_seeds_over_the_same_images_are_told_from_more_images(rng: np.random.Generator) -> None:
    images, seeds = 200, 40
    scores = rng.uniform(0, 1, images) + rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.05, (seeds, images))
    clusters, drawn = np.tile(np.arange(images), seeds), np.repeat(np.arange(seeds), images)
    found = mean_interval(scores.ravel(), clusters, seeds=drawn)
    assert found.images == pytest.approx(scores.mean(axis=0).var(ddof=1) / images)
    assert learned(scores.ravel(), clusters, seeds=drawn).sd == pytest.approx(scores.mean(axis=1).std(ddof=1), rel=0.15)
    assert found.retrain == pytest.approx(0.02**2 / seeds, rel=0.6)


def test_a_measurement_counts_by_its_degrees_of_freedom() -> None:
    known = Retrain(0.01, 4.0).learn(between=0.03, within=0.0, df=4)
    assert (known.variance, known.df) == pytest.approx((0.02, 8.0))
    blurred = Retrain(0.01, 4.0).learn(between=0.03, within=0.01, df=4)
    assert (blurred.variance, blurred.df) == pytest.approx(((4 * 0.01 + 1 * 0.02) / 5, 5.0))
    assert Retrain().plus(Retrain()).df == pytest.approx(RETRAIN_DF)
    assert Retrain().plus(Retrain()).over(2).variance == pytest.approx(RETRAIN_SD**2)


@pytest.mark.parametrize(("values", "clusters"), [([0.7], None), ([0.7, 0.1, 0.4], ["a", "a", "a"])])
def test_a_single_image_or_a_single_cluster_shows_no_spread(values: list[float], clusters: list[str] | None) -> None:
    found = mean_interval(values, clusters)
    assert not found.said
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.low, found.high, found.half) == (-math.inf, math.inf, math.inf)


def test_equal_scores_leave_only_the_retrain() -> None:
    found = mean_interval(np.ones(50))
    assert found.se == pytest.approx(RETRAIN_SD)
    assert found.half == pytest.approx(stats.t.ppf(0.975, RETRAIN_DF) * RETRAIN_SD)
    still = mean_interval(np.ones(50), retrain=STEADY)
    assert (still.low, still.high) == (1, 1)


def test_a_sum_of_parts_takes_the_quantile_of_each_by_its_variance() -> None:
    found = interval_of(0.8, [(3e-4, math.inf), (1e-4, 4.0)])
    assert found.quantile == pytest.approx(0.75 * 1.959964 + 0.25 * 2.776445)
    assert found.high - 0.8 == pytest.approx(found.quantile * 0.02)


def test_a_score_of_all_pixels_has_the_spread_of_its_redraws(rng: np.random.Generator) -> None:
    tp, wrong = rng.integers(0, 900, 400), rng.integers(0, 300, (400, 2))
    counts = np.stack([tp, wrong[:, 0], wrong[:, 1]], axis=1).astype(np.int64)
    counts[::3] = 0
    values = iou_dataset_values(counts)
    assert values.mean() == pytest.approx(iou_dataset(counts))
    rows = rng.integers(0, 400, (2000, 400))
    redrawn = np.std([iou_dataset(counts[row]) for row in rows])
    assert mean_interval(values, retrain=STEADY).se == pytest.approx(redrawn, rel=0.08)
    assert iou_dataset_values(np.zeros((3, 3), np.int64)).tolist() == [1, 1, 1]


def test_seeds_that_a_difference_takes() -> None:
    per_seed = 2 * RETRAIN_SD**2
    assert seeds_needed(0.05, 1e-6, per_seed) == 1
    count = seeds_needed(0.01, 4e-6, per_seed)
    assert count is not None
    for seeds, enough in ((count, True), (count - 1, False)):
        power = 1 - stats.norm.cdf(1.959964 - 0.01 / math.sqrt(4e-6 + per_seed / seeds))
        assert bool(power >= 0.8) is enough
    assert seeds_needed(0.005, 1e-4, per_seed) is None
