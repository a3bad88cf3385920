"""Truth that does not lie where the image changes is found; truth that does is left alone."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from saltern.data.check.truth import Alignment, align, inverted, shifted, whole_set

SIDE = 64


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A rough blob, darker and smoother than what surrounds it."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    middle = random.uniform(18, 46, 2)
    wide, high = random.uniform(6, 12), random.uniform(10, 18)
    rough = 0.4 * gaussian_filter(random.standard_normal((SIDE, SIDE)), 4) / 0.07
    mask = (((y - middle[0]) / high) ** 2 + ((x - middle[1]) / wide) ** 2 + 0.2 * rough < 1).astype(np.uint8)
    noise = gaussian_filter(random.standard_normal((SIDE, SIDE)), 1) * np.where(mask, 10, 40)
    return np.clip(150 - 70 * mask + noise, 0, 255).astype(np.uint8), mask


def aligned(change: Callable[[int, np.ndarray], np.ndarray], count: int = 120) -> list[Alignment]:
    items = []
    for seed in range(count):
        image, mask = drawn(seed)
        item = align(image, np.ascontiguousarray(change(seed, mask)))
        if item is not None:
            items.append(item)
    assert len(items) > 0.8 * count
    return items


def test_proper_masks_raise_no_word_about_the_set() -> None:
    items = aligned(lambda _, mask: mask)
    assert whole_set(items) == []
    assert shifted(items) == []
    assert inverted(items) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda mask: mask.T, "transposed"),
        (lambda mask: mask[:, ::-1], "mirrored left to right"),
        (lambda mask: mask[::-1], "mirrored top to bottom"),
        (lambda mask: np.roll(mask, (0, 6), (0, 1)), "moved by 0 px down and -6 px right"),
        (lambda mask: np.roll(mask, (-5, 0), (0, 1)), "moved by 5 px down and 0 px right"),
    ],
)
def test_a_set_with_all_masks_displaced_is_told_how(change: Callable[[np.ndarray], np.ndarray], said: str) -> None:
    (line,) = whole_set(aligned(lambda _, mask: change(mask)))
    assert said in line


def test_single_shifted_masks_are_named() -> None:
    wrong = {7, 31, 90}
    items = aligned(lambda seed, mask: np.roll(mask, 7, 1) if seed in wrong else mask)
    assert set(shifted(items)) == wrong
    assert whole_set(items) == []


def test_single_inverted_masks_are_named() -> None:
    wrong = {3, 50}
    assert set(inverted(aligned(lambda seed, mask: 1 - mask if seed in wrong else mask))) == wrong


def test_void_is_background_and_nothing_is_said_without_an_outline() -> None:
    image, mask = drawn(0)
    assert align(image, np.zeros_like(mask)) is None
    assert align(image, np.full_like(mask, 255)) is None
    assert align(np.full_like(image, 9), mask) is None
    assert align(image[:1, :1], mask[:1, :1]) is None


def test_large_images_are_measured_at_a_smaller_size() -> None:
    image, mask = (np.kron(part, np.ones((8, 8), np.uint8)) for part in drawn(1))
    item = align(image, mask)
    assert item is not None
    assert item.scale == 2
    assert item.near() > item.far()


def test_few_images_say_nothing_about_the_set() -> None:
    assert whole_set(aligned(lambda _, mask: mask.T, count=10)) == []
