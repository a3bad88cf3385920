"""Which validation images TensorBoard shows, when, and with which lines."""

import numpy as np
import pytest

from saltern.config import ConfigError, compose_config
from saltern.data.loading.preview import OUTLINE
from saltern.pipeline.watching import MASK_OUTLINE, drawn, watched


def test_the_images_are_a_function_of_the_fold() -> None:
    coverage = {"a": 0.0, "b": 0.9, "c": 0.5, "d": 0.2, "e": 0.2, "f": 0.0, "g": 0.7}
    first = watched(list(coverage), coverage)
    assert first == ["b", "c", "e", "f"], "from the fullest to an empty one, evenly"
    assert watched(sorted(coverage, reverse=True), coverage) == first
    assert watched(["c", "a"], coverage) == ["c", "a"]
    assert watched([], coverage) == []


@pytest.mark.parametrize(("side", "shown"), [(32, 192), (101, 202), (300, 300), (768, 384)])
def test_small_images_are_shown_larger_and_large_ones_smaller(side: int, shown: int) -> None:
    image, empty = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    assert drawn(image, empty, empty.astype(np.float32)).shape == (shown, shown, 3)


def test_truth_and_mask_have_lines_of_their_own_colours() -> None:
    image, target, probs = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.float32)
    target[4:12, 4:12] = 1
    probs[20:28, 20:28] = 0.51
    picture = drawn(image, target, probs)  # six times as large
    assert tuple(picture[24, 40]) == OUTLINE
    assert tuple(picture[120, 140]) == MASK_OUTLINE
    assert not picture[40, 40].any(), "inside"
    coloured = picture.any(axis=2)
    assert coloured.sum() == 2 * 4 * (8 * 6 - 1)


def test_the_number_of_epochs_is_checked_and_may_change_within_a_run() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.pictures_every=0: expected null or a whole number"):
        compose_config("run", ["trainer.pictures_every=0"])
    assert compose_config("run", ["trainer.pictures_every=null"]).trainer.pictures_every is None
