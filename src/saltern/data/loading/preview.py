"""A contact sheet: what the network will be shown, with outlined masks."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from saltern.config import AugmentConfig, DatasetConfig
from saltern.data.loading.batches import LoaderSettings, batch_maker, sample_maker
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.workers import Arrays
from saltern.data.source.masks import VOID

OUTLINE = (255, 70, 0)
"""Of the foreground, RGB."""
VOID_OUTLINE = (90, 160, 255)
"""Of void, RGB."""
_GAP, _BACKGROUND = 4, 24


def contact_sheet(
    source: ImageSource,
    rows: Sequence[int],
    dataset: DatasetConfig,
    augment: AugmentConfig,
    settings: LoaderSettings,
    versions: int = 6,
    mix: Callable[[Arrays, int], Arrays] | None = None,
) -> np.ndarray:
    """Training images as batches hold them: a line for each of `rows`, the image as it is, then augmented `versions`.

    The outline of the foreground is orange, that of void blue. The augmented versions are those of the epochs 0, 1, …
    of a training with the seed of `settings`. With `mix`, which takes images, targets and the epoch, those of a
    column are mixed as one batch.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ConfigError: an augmentation that cannot be built.
        DataError: an image that cannot be read; with `mix`, images of different sizes.
    """
    plain = sample_maker(source, dataset, AugmentConfig(), settings)
    lively = sample_maker(source, dataset, augment, settings)
    together = batch_maker(source, dataset, augment, settings)
    columns = [[plain(row, 0) for row in rows]]
    for epoch in range(versions):
        if mix is None:
            columns.append([lively(row, epoch) for row in rows])
        else:
            images, masks = mix(together((epoch, tuple(rows))), epoch)
            columns.append(list(zip(images, masks, strict=True)))
    return _grid([[outlined(image, mask) for image, mask in line] for line in zip(*columns, strict=True)])


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy of `image` uint8 (H, W, 3), RGB, with lines around foreground and void of `mask` uint8 (H, W)."""
    for value, colour in ((VOID, VOID_OUTLINE), (1, OUTLINE)):
        image = lined(image, (mask == value).astype(np.uint8), colour)
    return image


def lined(image: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A copy of `image` uint8 (H, W, 3), RGB, with a line of one pixel inside the border of `inside` uint8 (H, W)."""
    drawn = np.ascontiguousarray(image).copy()
    inner = cv2.erode(inside, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    drawn[(inside == 1) & (inner == 0)] = colour
    return drawn


def _grid(lines: list[list[np.ndarray]]) -> np.ndarray:
    """Tiles of any sizes in lines, each in a cell of the largest size."""
    height = max(tile.shape[0] for line in lines for tile in line)
    width = max(tile.shape[1] for line in lines for tile in line)
    columns = max(len(line) for line in lines)
    size = (len(lines) * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3)
    sheet = np.full(size, _BACKGROUND, np.uint8)
    for y, line in enumerate(lines):
        for x, tile in enumerate(line):
            top, left = _GAP + y * (height + _GAP), _GAP + x * (width + _GAP)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet
