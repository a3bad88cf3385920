"""What a decision does to the shape of a mask: holes filled, components kept by their area or their rank.

Foreground hangs together over sides and corners (8 neighbours), background over sides alone (4), so that a closed line
parts what lies in it from what lies around it. Areas count every pixel, void or not: a test image has no void.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saltern.config.schema import InferenceConfig

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Shape:
    """Three numbers, done in this order; 0 does nothing."""

    fill_holes: int = 0
    """Background that foreground encloses is filled where it has at most so many pixels."""
    min_component: int = 0
    """Components with fewer pixels are taken away."""
    largest: int = 0
    """So many components are kept, the largest; those that are as large as the last of them stay, too."""


PLAIN = Shape()


def shapes_in(config: InferenceConfig) -> list[Shape]:
    """The candidates of `inference.tune`, PLAIN first, in a fixed order; PLAIN alone where they are not switched on."""
    on = config.tune
    axes = (sorted(set(axis)) for axis in (on.fill_holes, on.min_component, on.largest))
    return with_plain(Shape(*numbers) for numbers in product(*axes))


def with_plain(shapes: Iterable[Shape]) -> list[Shape]:
    """PLAIN and the others of `shapes`, each once."""
    return list(dict.fromkeys([PLAIN, *shapes]))


def shaped(mask: Mask, shape: Shape) -> Mask:
    """`mask` (H, W), uint8 {0, 1}, as `shape` leaves it."""
    if shape.fill_holes:
        mask = filled(mask, shape.fill_holes)
    if not (shape.min_component or shape.largest):
        return mask
    labels, areas = _components(mask)
    kept: Mask = np.append(False, areas >= _least(areas, shape))[labels].astype(np.uint8)
    return kept


def filled(mask: Mask, most: int) -> Mask:
    """`mask` (H, W), uint8 {0, 1}, with every hole of at most `most` pixels filled."""
    if not mask.size:
        return mask
    found, labels, stats, _ = cv2.connectedComponentsWithStats((1 - mask).astype(np.uint8), connectivity=4)
    left, top, width, height, area = stats.T
    inside = (left > 0) & (top > 0) & (left + width < mask.shape[1]) & (top + height < mask.shape[0])
    holes = inside & (area <= most)
    holes[0] = False  # the foreground
    return mask | holes[labels].astype(np.uint8) if found > 1 else mask


def areas_and_counts(
    probs: NDArray[np.float32], target: NDArray[np.integer[Any]], levels: NDArray[np.float32], shapes: Sequence[Shape]
) -> NDArray[np.int64]:
    """Of the masks of an image at T thresholds, shaped in S ways: pixels, valid ones, ones of the truth's foreground.

    Args:
        probs: (H, W) in [0, 1].
        target: (H, W) of {0, 1, 255}.
        levels: (T,) thresholds.
        shapes: S of them. Each mask's components are looked for once a candidate of `fill_holes`.

    Returns:
        int64 (3, S, T).
    """
    counts = np.zeros((3, len(shapes), len(levels)), np.int64)
    kinds = [(target != 255).ravel().astype(np.float64), (target == 1).ravel().astype(np.float64)]
    fills = {most: [(row, shape) for row, shape in enumerate(shapes) if shape.fill_holes == most]
             for most in {shape.fill_holes for shape in shapes}}  # fmt: skip
    for column, level in enumerate(levels):
        mask = (probs > level).astype(np.uint8)
        for most, of_fill in fills.items():
            labels, areas = _components(filled(mask, most) if most else mask)
            sums = [np.bincount(labels.ravel(), kind, minlength=len(areas) + 1)[1:].astype(np.int64) for kind in kinds]
            for row, shape in of_fill:
                kept = areas >= _least(areas, shape)
                counts[:, row, column] = [part[kept].sum() for part in (areas, *sums)]
    return counts


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels (H, W), 0 for background, and the area of each component from label 1 on."""
    if not mask.size:
        return np.zeros(mask.shape, np.int32), np.zeros(0, np.int64)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return labels, stats[1:, cv2.CC_STAT_AREA].astype(np.int64)


def _least(areas: NDArray[np.int64], shape: Shape) -> int:
    """The area from which on a component is kept."""
    if not shape.largest or len(areas) <= shape.largest:
        return shape.min_component
    return max(shape.min_component, int(np.partition(areas, -shape.largest)[-shape.largest]))
