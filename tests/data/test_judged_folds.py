"""Folds that cannot be scored are refused, and those whose scores say little are told, with numbers."""

import numpy as np
import pandas as pd
import pytest

from saltern.data.folds.soundness import judge_folds
from saltern.errors import DataError

NAN = float("nan")


def judged(folds: list[int], coverage: list[float], groups: list[str] | None = None) -> list[str]:
    ids = [f"{number:03d}" for number in range(len(folds))]
    table = pd.DataFrame({"id": ids, "coverage": coverage})
    named = None if groups is None else pd.Series(groups, index=ids)
    return judge_folds(pd.DataFrame({"id": ids, "fold": folds})[::-1], table, named)


def test_sound_folds_are_not_spoken_of() -> None:
    assert judged([0, 1] * 20, [0.0, 0.1, 0.2, 0.0] * 10, [f"{number // 4}" for number in range(40)]) == []


def test_a_fold_without_foreground_and_one_with_all_of_it() -> None:
    first, second = judged([0] * 20 + [1] * 20, [0.0] * 20 + [0.5] * 3 + [0.0] * 17)
    assert first.startswith("fold 0: none of its 20 images has foreground")
    assert second.startswith("fold 1: all 3 images with foreground are in it")


def test_a_set_without_foreground_is_told_once() -> None:
    (line,) = judged([0, 1] * 10, [0.0] * 20)
    assert line.startswith("none of the 20 labelled images has any foreground")


def test_a_fold_of_one_image_is_told() -> None:
    (line,) = judged([0] * 30 + [1], [0.2] * 31)
    assert line.startswith("1 of 2 folds validate fewer than 10 images (fold 1: 1 image)")


def test_a_group_larger_than_a_fold_is_told() -> None:
    folds = np.repeat([0, 1, 2], [30, 15, 15]).tolist()
    (line,) = judged(folds, [0.2] * 60, ["a"] * 30 + [str(number) for number in range(30)])
    assert "the largest group, 'a', holds 30 of 60 images, more than the 20 of an even fold" in line


@pytest.mark.parametrize(
    ("folds", "coverage", "said"),
    [
        ([0, 0, 1, 1], [NAN, NAN, 0.1, 0.2], "fold 0 cannot be scored: none of the 2 images"),
        ([0, 0, -1, -1], [0.1, 0.2, NAN, NAN], "fold 0 cannot train: none of the 2 images"),
        ([0, 0, 0], [0.1, 0.2, 0.3], "fold 0 cannot train: none of the 0 images"),
    ],
)
def test_a_fold_that_cannot_be_scored_or_trained_is_refused(folds: list[int], coverage: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        judged(folds, coverage)
