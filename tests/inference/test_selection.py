"""What choosing the best epoch gained: by brute force, and where the truth is known."""

from itertools import product

import numpy as np
import pytest

from saltern.config.choices import MONITORS
from saltern.inference import selection
from saltern.inference.epoch_counts import EpochCounts
from saltern.inference.halves import balanced_halves, clusters_of, random_half
from saltern.inference.selection import Selection, cross_fitted, optimism_of, selection_of_fold
from saltern.metrics.scores import summarise

PIXELS = 1000
IOU = ("iou_image", "iou_image")


def counts_of(iou: np.ndarray) -> np.ndarray:
    """(E, N, 3) of masks inside a truth of PIXELS, whose IoU is `iou` (E, N)."""
    hit = np.round(PIXELS * iou.clip(0, 1)).astype(np.int32)
    return np.stack([hit, np.zeros_like(hit), PIXELS - hit], axis=2)


def competition(
    seed: int, epochs: int = 20, images: int = 134, noise: float = 0.12, alike: int = 1
) -> tuple[EpochCounts, np.ndarray, np.ndarray]:
    """Counts, the true score of every epoch, and the clusters: epochs differ little, `alike` images all but agree."""
    random = np.random.default_rng(seed)
    true = 0.5 + random.normal(0, 0.004, epochs)
    clusters = np.arange(images) // alike
    shared = random.normal(0, noise, (epochs, clusters[-1] + 1))[:, clusters] if alike > 1 else 0.0
    own = random.normal(0, noise if alike == 1 else noise / 4, (epochs, images))
    levels = random.normal(0, 0.1, images)
    iou = true[:, None] + (levels - levels.mean()) + shared + own
    return EpochCounts(tuple(f"{row:03}" for row in range(images)), counts_of(iou)), true, clusters


def test_the_best_epoch_promises_too_much_and_less_its_optimism_it_tells_the_truth() -> None:
    plain, less = [], []
    for seed in range(60):
        found, true, _ = competition(seed)
        scores = [summarise(epoch.astype(np.int64))["iou_image"] for epoch in found.counts]
        best = int(np.argmax(scores))
        plain.append(scores[best] - true[best])
        optimism = selection_of_fold(found, best + 1, IOU).optimism
        less.append(plain[-1] - optimism)
    assert np.mean(plain) > 0.01
    assert abs(np.mean(less)) < 0.004


def test_with_images_that_are_all_but_copies_halves_of_images_hide_it_and_halves_of_groups_do_not() -> None:
    by_image, by_group = [], []
    for seed in range(60):
        found, true, clusters = competition(seed, images=150, alike=10)
        scores = [summarise(epoch.astype(np.int64))["iou_image"] for epoch in found.counts]
        best = int(np.argmax(scores))
        groups = {name: str(label) for name, label in zip(found.ids, clusters, strict=True)}
        by_image.append(scores[best] - true[best] - selection_of_fold(found, best + 1, IOU).optimism)
        by_group.append(scores[best] - true[best] - selection_of_fold(found, best + 1, IOU, groups).optimism)
    assert np.mean(by_image) > 0.02
    assert abs(np.mean(by_group)) < 0.01


@pytest.mark.parametrize(("choose_by", "score_by"), list(product(MONITORS, MONITORS))[::3])
def test_cross_fitting_is_what_it_says(choose_by: str, score_by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One halving, done again with the scores that all tables use."""
    random = np.random.default_rng(2)
    counts = random.integers(0, 50, (6, 9, 3))
    counts[:, 0] = 0
    monkeypatch.setattr(selection, "HALVINGS", 1)
    first = random_half(np.arange(9), np.random.default_rng(0))
    chosen = [int(np.argmax([summarise(epoch[half])[choose_by] for epoch in counts])) for half in (first, ~first)]
    crossed = np.concatenate([counts[chosen[0]][~first], counts[chosen[1]][first]])
    expected = summarise(crossed)[score_by]
    assert cross_fitted(counts, (choose_by, score_by), np.arange(9)) == pytest.approx(expected)


def test_chosen_by_a_score_optimism_in_it_is_never_negative_and_nil_where_one_epoch_is_best_everywhere() -> None:
    for seed in range(10):
        found, _, _ = competition(seed, images=12)
        best = int(np.argmax([summarise(epoch.astype(np.int64))["iou_image"] for epoch in found.counts])) + 1
        assert selection_of_fold(found, best, IOU).optimism >= -1e-12
    better = np.linspace(0.1, 0.9, 5)[:, None] * np.ones((1, 8))
    sure = selection_of_fold(EpochCounts(tuple("abcdefgh"), counts_of(better)), 5, IOU)
    assert sure.optimism == pytest.approx(0)
    assert sure.last == pytest.approx(0)


def test_what_cannot_be_said_is_said_in_words() -> None:
    found, _, _ = competition(0, images=4)
    one_group = dict.fromkeys(found.ids, "g")
    assert (
        selection_of_fold(found, 1, IOU, one_group).note == "a single group has no halves to choose on and to score on"
    )
    single = EpochCounts(("a",), found.counts[:, :1])
    assert selection_of_fold(single, 1, IOU).optimism is None
    one_epoch = EpochCounts(found.ids, found.counts[:1])
    assert selection_of_fold(one_epoch, 1, IOU) == Selection(4, 0.0, "there was one epoch, so none was chosen")
    older = EpochCounts(found.ids, found.counts[:1]).with_epoch(4, found.counts[0])
    assert "earlier version" in selection_of_fold(older, 4, IOU).note


def test_a_run_has_the_mean_over_its_images_or_none() -> None:
    known = [Selection(10, 0.03), Selection(30, 0.01), Selection(20, 0.0, "one epoch")]
    assert optimism_of(known) == (pytest.approx((0.3 + 0.3) / 60), "")
    assert optimism_of([*known, Selection(5, None, "why not")]) == (None, "why not")


def test_halves_are_balanced_and_cut_no_group() -> None:
    random = np.random.default_rng(3)
    ids = [f"{row}" for row in range(200)]
    groups = {name: str(random.integers(0, 23)) for name in ids}
    clusters = clusters_of(ids, groups)
    halves = balanced_halves(ids, clusters)
    assert abs(int(halves.sum()) - 100) <= 2
    turned = np.random.default_rng(1).permutation(200)
    again = balanced_halves([ids[row] for row in turned], clusters_of([ids[row] for row in turned], groups))
    np.testing.assert_array_equal(again, halves[turned])
    for cluster in np.unique(clusters):
        assert len(set(halves[clusters == cluster].tolist())) == 1
        assert len(set(random_half(clusters, random)[clusters == cluster].tolist())) == 1
    sizes = [random_half(clusters, random).sum() for _ in range(20)]
    assert min(sizes) > 85
    assert max(sizes) < 115
    large = np.array([0] * 9 + [1])
    assert random_half(large, random).sum() in (1, 9), "one cluster at least in each"
    assert not balanced_halves(["a", "b"], np.zeros(2, np.int64)).any()
