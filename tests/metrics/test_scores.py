"""Scores against hand values, other libraries, and loops over pixels."""

from fractions import Fraction

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score

from saltern.metrics import scores

COUNTS = hnp.arrays(np.int64, st.tuples(st.integers(1, 20), st.just(3)), elements=st.integers(0, 40))


def draw(seed: int, n: int = 12, void: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Masks and targets (n, 9, 7); some empty on either side, void pixels in some."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((n, 9, 7)) < rng.choice([0, 0.3, 0.8], (n, 1, 1))).astype(np.uint8)
    targets = (rng.random((n, 9, 7)) < rng.choice([0, 0.3, 0.8], (n, 1, 1))).astype(np.uint8)
    if void:
        targets[rng.random(targets.shape) < rng.choice([0, 0.4], (n, 1, 1))] = 255
    return masks, targets


def slowly(mask: np.ndarray, target: np.ndarray) -> tuple[int, int, int]:
    pairs = [(int(m), int(t)) for m, t in zip(mask.flat, target.flat, strict=True) if t != 255]
    return pairs.count((1, 1)), pairs.count((1, 0)), pairs.count((0, 1))


def test_counts_agree_with_a_loop_over_pixels_one_by_one_and_in_batches() -> None:
    masks, targets = draw(0)
    expected = [slowly(mask, target) for mask, target in zip(masks, targets, strict=True)]
    assert [scores.count_pixels(mask, target) for mask, target in zip(masks, targets, strict=True)] == expected
    batch = scores.count_batch(torch.from_numpy(masks), torch.from_numpy(targets))
    assert batch.dtype == torch.int64
    assert batch.tolist() == [list(row) for row in expected]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.bfloat16])
def test_batches_take_any_dtype_and_a_channel_axis(dtype: torch.dtype) -> None:
    masks, targets = draw(1, void=dtype != torch.bool)
    expected = [list(slowly(mask, target)) for mask, target in zip(masks, targets, strict=True)]
    masks_t, targets_t = torch.from_numpy(masks)[:, None].to(dtype), torch.from_numpy(targets)[:, None].to(dtype)
    assert scores.count_batch(masks_t, targets_t[:, 0]).tolist() == expected


def test_another_void_value() -> None:
    assert scores.count_pixels(np.ones((1, 3)), np.array([[1, 0, 7]]), ignore_index=7) == (1, 1, 0)


def test_iou_and_dice_agree_with_sklearn_where_something_is_foreground() -> None:
    masks, targets = draw(2, n=40, void=False)
    counts = np.array([scores.count_pixels(mask, target) for mask, target in zip(masks, targets, strict=True)])
    for row, (mask, target) in enumerate(zip(masks, targets, strict=True)):
        if counts[row].sum():
            assert scores.iou(counts)[row] == pytest.approx(
                jaccard_score(target.ravel(), mask.ravel(), zero_division=0)
            )
            assert scores.dice(counts)[row] == pytest.approx(f1_score(target.ravel(), mask.ravel(), zero_division=0))
        else:
            assert scores.iou(counts)[row] == scores.dice(counts)[row] == 1


def test_summary_agrees_with_smp() -> None:
    masks, targets = draw(3, n=30, void=False)
    stats = smp.metrics.get_stats(
        torch.from_numpy(masks).long()[:, None], torch.from_numpy(targets).long()[:, None], mode="binary"
    )
    counts = np.array([scores.count_pixels(mask, target) for mask, target in zip(masks, targets, strict=True)])
    summary = scores.summarise(counts)
    assert summary["iou_image"] == pytest.approx(smp.metrics.iou_score(*stats, reduction="micro-imagewise").item())
    assert summary["dice_image"] == pytest.approx(smp.metrics.f1_score(*stats, reduction="micro-imagewise").item())
    assert summary["iou_dataset"] == pytest.approx(smp.metrics.iou_score(*stats, reduction="micro").item())


@pytest.mark.parametrize(
    ("case", "counts", "expected"),
    [
        ("both empty", (0, 0, 0), 1.0),
        ("truth empty, mask 60 %", (0, 6121, 0), 0.0),
        ("truth empty, mask full", (0, 10201, 0), 0.0),
        ("truth 60 %, mask empty", (0, 0, 6121), 0.0),
        ("truth 96 %, mask empty", (0, 0, 9793), 0.0),
        ("IoU exactly 0.50", (50, 25, 25), 0.0),
        ("IoU exactly 0.75", (75, 20, 5), 0.5),
        ("IoU exactly 0.95", (95, 0, 5), 0.9),
        ("IoU exactly 0.60", (60, 40, 0), 0.2),
        ("IoU just above 0.50", (5001, 4999, 0), 0.1),
        ("IoU just above 0.95", (9501, 499, 0), 1.0),
        ("perfect", (1, 0, 0), 1.0),
    ],
)
def test_the_competitions_rule_case_by_case(case: str, counts: tuple[int, int, int], expected: float) -> None:
    assert scores.precision_tgs(np.array([counts])).tolist() == [expected], case


@given(COUNTS)
def test_precision_tgs_is_the_rule_in_exact_fractions(counts: np.ndarray) -> None:
    for (tp, fp, fn), score in zip(counts.tolist(), scores.precision_tgs(counts).tolist(), strict=True):
        if tp + fp + fn == 0:
            assert score == 1
        else:
            hits = sum(Fraction(tp, tp + fp + fn) > Fraction(k, 100) for k in range(50, 100, 5))
            assert score == hits / 10


@given(COUNTS, st.integers(0, 20))
def test_totals_of_parts_add_up_to_the_whole(counts: np.ndarray, cut: int) -> None:
    whole = scores.summarise(counts)
    parts = scores.from_totals(scores.totals(counts[:cut]) + scores.totals(counts[cut:]))
    assert parts == pytest.approx(whole)
    assert whole["iou_image"] == pytest.approx(scores.iou(counts).mean())
    assert all(0 <= score <= 1 for score in whole.values())


def test_pooled_iou_differs_from_the_mean_and_is_one_where_nothing_is_foreground() -> None:
    counts = np.array([[90, 10, 0], [0, 0, 10]])
    assert scores.iou_dataset(counts) == pytest.approx(90 / 110)
    assert scores.summarise(counts)["iou_image"] == pytest.approx(0.45)
    assert scores.iou_dataset(np.zeros((3, 3), np.int64)) == 1


def test_the_tables_of_names_cover_every_score() -> None:
    from saltern.config.choices import MONITORS

    assert set(MONITORS) == set(scores.summarise(np.array([[1, 0, 0]])))
    assert set(scores.MEAN_OF) == set(MONITORS) - {"iou_dataset"}
    assert set(scores.MEAN_OF.values()) == set(scores.PER_IMAGE)
