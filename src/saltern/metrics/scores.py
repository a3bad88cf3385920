"""Scores per image and pooled, all from three numbers per image: true positives, false positives, false negatives.

Counts are int64 (N, 3), a row an image, columns tp, fp, fn in valid pixels. Void pixels of the target take part in
nothing: an image whose valid pixels hold no foreground has an empty truth.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


def count_pixels(
    mask: NDArray[np.generic], target: NDArray[np.generic], ignore_index: int = 255
) -> tuple[int, int, int]:
    """Count (tp, fp, fn) of one image.

    Args:
        mask: (H, W), {0, 1} or bool.
        target: (H, W), {0, 1, `ignore_index`}.
        ignore_index: the value of void pixels, which are left out.
    """
    assert mask.shape == target.shape, f"mask {mask.shape}, target {target.shape}"
    foreground, truth, valid = mask.astype(bool), target == 1, target != ignore_index
    tp = int(np.count_nonzero(foreground & truth))
    return tp, int(np.count_nonzero(foreground & valid)) - tp, int(np.count_nonzero(truth)) - tp


def count_batch(masks: Tensor, targets: Tensor, ignore_index: int = 255) -> Tensor:
    """Count (tp, fp, fn) of every image of a batch, on its device and without waiting for it.

    Args:
        masks: (B, 1, H, W) or (B, H, W), {0, 1} of any dtype.
        targets: the same number of pixels an image, {0, 1, `ignore_index`} of any dtype.
        ignore_index: the value of void pixels, which are left out.

    Returns:
        int64 (B, 3).
    """
    foreground, targets = masks.bool().flatten(1), targets.flatten(1)
    assert foreground.shape == targets.shape, f"masks {tuple(masks.shape)}, targets {tuple(targets.shape)}"
    truth = targets == 1
    tp = (foreground & truth).sum(1)
    return torch.stack([tp, (foreground & (targets != ignore_index)).sum(1) - tp, truth.sum(1) - tp], dim=1)


def iou(counts: Counts) -> Scores:
    """Intersection over union of each image, tp / (tp + fp + fn); 1 where truth and mask are both empty."""
    return _share(counts[:, 0], counts.sum(axis=1))


def dice(counts: Counts) -> Scores:
    """Dice coefficient of each image, 2 tp / (2 tp + fp + fn); 1 where truth and mask are both empty."""
    return _share(2 * counts[:, 0], counts.sum(axis=1) + counts[:, 0])


def precision_tgs(counts: Counts) -> Scores:
    """The TGS competition's score of each image: the share of the thresholds 0.50, 0.55 … 0.95 that its IoU exceeds.

    1 where truth and mask are both empty, 0 where one of them is. The comparison (greater, not equal) is made in
    whole numbers, 20 tp > k union for k = 10 … 19, so an IoU of exactly 0.75 scores 0.5 on every machine.
    """
    union = counts.sum(axis=1)
    hits = (20 * counts[:, :1] > np.arange(10, 20) * union[:, None]).sum(axis=1)
    return np.where(union == 0, 1.0, hits / 10)


PER_IMAGE: dict[str, Callable[[Counts], Scores]] = {"iou": iou, "dice": dice, "precision_tgs": precision_tgs}
"""The columns of `oof_scores.csv`."""

MEAN_OF = {"iou_image": "iou", "dice_image": "dice", "precision_tgs": "precision_tgs"}
"""Score of a data set → the column whose mean it is. `iou_dataset` has none: it pools the pixels."""


def iou_dataset(counts: Counts) -> float:
    """Intersection over union of all images' pixels together; 1 where no truth and no mask has foreground."""
    return float(iou(counts.sum(axis=0, keepdims=True))[0])


def totals(counts: Counts) -> NDArray[np.float64]:
    """All that `from_totals` needs, as sums that can be added over parts of a data set: float64 (7,)."""
    sums = [scores(counts).sum() for scores in (iou, dice, precision_tgs)]
    return np.array([len(counts), *sums, *counts.sum(axis=0)], dtype=np.float64)


def from_totals(sums: NDArray[np.float64]) -> dict[str, float]:
    """The scores of a data set from `totals`, or from the sum of several; pixel counts are exact up to 2^53."""
    images, iou_sum, dice_sum, precision_sum = sums[:4].tolist()
    assert images > 0, "no image to score"
    return {
        "iou_image": iou_sum / images,
        "iou_dataset": iou_dataset(sums[4:].astype(np.int64).reshape(1, 3)),
        "dice_image": dice_sum / images,
        "precision_tgs": precision_sum / images,
    }


def summarise(counts: Counts) -> dict[str, float]:
    """Every score of a data set by the name that all tables use; `counts` (N, 3) with at least one image."""
    return from_totals(totals(counts))


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Scores:
    return np.divide(part, whole, out=np.ones(len(part)), where=whole > 0)
