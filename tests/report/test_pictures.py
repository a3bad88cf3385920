"""Outlines against a walk over pixels, pictures against their own pixels."""

import base64
import re

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saltern.report.pictures import border, filled, picture

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.booleans())


def steps(path: str) -> set[tuple[str, int, int]]:
    """Unit edges of path data: ("h", x, y) from (x, y) one to the right, ("v", x, y) one down."""
    found = []
    for x, y, way, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        for i in range(int(length)):
            found.append((way, int(x) + i, int(y)) if way == "h" else (way, int(x), int(y) + i))
    assert len(found) == len(set(found)), "an edge is drawn twice"
    return set(found)


@given(MASKS)
def test_the_border_is_every_pixel_edge_between_mask_and_rest(mask: np.ndarray) -> None:
    height, width = mask.shape

    def at(y: int, x: int) -> bool:
        return bool(0 <= y < height and 0 <= x < width and mask[y, x])

    expected = {("h", x, y) for y in range(height + 1) for x in range(width) if at(y, x) != at(y - 1, x)}
    expected |= {("v", x, y) for y in range(height) for x in range(width + 1) if at(y, x) != at(y, x - 1)}
    assert steps(border(mask)) == expected


@given(MASKS)
def test_the_filled_bars_are_the_mask(mask: np.ndarray) -> None:
    drawn = np.zeros_like(mask)
    for x, y, length, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", filled(mask)):
        assert length == back
        drawn[int(y), int(x) : int(x) + int(length)] = True
    np.testing.assert_array_equal(drawn, mask)


def pixels_of(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def test_a_small_picture_keeps_its_pixels_and_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    target = np.zeros((9, 7), np.uint8)
    drawn = picture(image, {"mask": target}, target)
    np.testing.assert_array_equal(pixels_of(drawn.image), image)
    assert (drawn.width, drawn.height) == (7, 9)
    assert drawn.heat == ""
    assert [(line.kind, line.path) for line in drawn.outlines] == [("truth", ""), ("mask", "")]


def test_void_is_shaded_beneath_the_outlines_and_not_part_of_the_truth() -> None:
    target = np.array([[1, 255], [0, 0]], np.uint8)
    drawn = picture(np.zeros((2, 2, 3), np.uint8), {"mask": np.ones((2, 2), np.uint8)}, target, np.eye(2))
    assert [line.kind for line in drawn.outlines] == ["void", "truth", "mask"]
    assert drawn.outlines[0].path == "M1 0h1v1h-1z"
    assert steps(drawn.outlines[1].path) == {("h", 0, 0), ("h", 0, 1), ("v", 0, 0), ("v", 1, 0)}
    heat = pixels_of(drawn.heat).astype(int)
    assert heat[0, 0].sum() > heat[0, 1].sum()


@pytest.mark.parametrize("shape", [(1000, 300), (481, 961)])
def test_a_large_picture_is_shrunk_with_its_masks(shape: tuple[int, int]) -> None:
    target = np.ones(shape, np.uint8)
    drawn = picture(np.full((*shape, 3), 90, np.uint8), {"mask": target}, target, target.astype(np.float16))
    small = pixels_of(drawn.image)
    assert small.shape[:2] == (drawn.height, drawn.width) == pixels_of(drawn.heat).shape[:2]
    assert max(small.shape) <= 480
    assert np.abs(small.astype(int) - 90).max() <= 2
    frame = {("h", x, y) for x in range(drawn.width) for y in (0, drawn.height)}
    frame |= {("v", x, y) for x in (0, drawn.width) for y in range(drawn.height)}
    assert steps(drawn.outlines[0].path) == frame
