"""Whether every fold can be trained and scored, and what its score will be worth."""

import numpy as np
import pandas as pd

from saltern.data.folds.assign import fold_numbers
from saltern.errors import DataError

FEW = 10
"""A fold with fewer images is told: its score is mostly chance."""


def judge_folds(folds: pd.DataFrame, table: pd.DataFrame, groups: pd.Series | None = None) -> list[str]:
    """What makes scores of these folds say little, a sentence each; empty where all is well.

    Args:
        folds: the split, matched to `table` by id.
        table: the labelled images; `coverage` is read, NaN where the truth is unknown.
        groups: labels indexed by id, where whole groups were divided.

    Raises:
        DataError: a fold of which no image has a truth, so that it cannot be scored, or with none to train on.
    """
    fold = folds.set_index("id")["fold"].loc[table["id"]].to_numpy()
    coverage = table["coverage"].to_numpy(dtype=float)
    numbers = fold_numbers(folds)
    for number in numbers:
        for part, what in ((fold == number, "be scored"), (fold != number, "train")):
            if not np.isfinite(coverage[part]).any():
                raise DataError(
                    f"fold {number} cannot {what}: none of the {int(part.sum())} images that it would do so with has a "
                    "mask; choose other folds, or fewer (folds.n)."
                )
    if not (coverage > 0).any():
        return [
            f"none of the {len(coverage)} labelled images has any foreground; networks learn to find nothing, and a "
            "submission without any mask scores as well. Are these the right masks?"
        ]
    return [*_without_foreground(fold, coverage, numbers), *_few(fold, numbers), *_large(groups, numbers)]


def _without_foreground(fold: np.ndarray, coverage: np.ndarray, numbers: list[int]) -> list[str]:
    filled = coverage > 0
    lines = []
    for number in numbers:
        inside = fold == number
        if not filled[inside].any():
            lines.append(
                f"fold {number}: none of its {int(inside.sum())} images has foreground; its score counts false alarms"
            )
        elif not filled[~inside].any():
            lines.append(
                f"fold {number}: all {int(filled.sum())} images with foreground are in it; its networks see none"
            )
    return lines


def _few(fold: np.ndarray, numbers: list[int]) -> list[str]:
    counts = {number: int((fold == number).sum()) for number in numbers}
    few = {number: count for number, count in counts.items() if count < FEW}
    if not few:
        return []
    least = min(few, key=lambda number: few[number])
    images = "image" if few[least] == 1 else "images"
    return [
        f"{len(few)} of {len(numbers)} folds validate fewer than {FEW} images (fold {least}: {few[least]} {images}); "
        "their scores are mostly chance"
    ]


def _large(groups: pd.Series | None, numbers: list[int]) -> list[str]:
    if groups is None or len(numbers) < 2:
        return []
    sizes = groups.value_counts()
    largest, even = int(sizes.iloc[0]), len(groups) / len(numbers)
    if largest <= even:
        return []
    return [
        f"the largest group, {str(sizes.index[0])!r}, holds {largest} of {len(groups)} images, more than the "
        f"{even:.0f} of an even fold; it is not divided, so the folds differ in size"
    ]
