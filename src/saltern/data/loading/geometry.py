"""Bring an image to network size, and its probabilities exactly back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from saltern.config import DatasetConfig
from saltern.data.source.masks import VOID

if TYPE_CHECKING:
    from torch import Tensor

BORDERS = {"reflect": cv2.BORDER_REFLECT_101, "edge": cv2.BORDER_REPLICATE, "constant": cv2.BORDER_CONSTANT}
"""`dataset.pad` → OpenCV's code for it."""


@dataclass(frozen=True)
class Fit:
    """How one image was brought to network size: scaled first, then padded. Sizes are (height, width) in pixels."""

    native: tuple[int, int]
    scaled: tuple[int, int]
    top: int
    bottom: int
    left: int
    right: int
    border: str
    """What the padding holds: reflect, edge or constant."""

    @property
    def padded(self) -> tuple[int, int]:
        """The network size."""
        return self.scaled[0] + self.top + self.bottom, self.scaled[1] + self.left + self.right


def scaled_size(native: tuple[int, int], config: DatasetConfig) -> tuple[int, int]:
    """The size (height, width) that `dataset.resize` or `dataset.long_side` gives an image, before padding."""
    if config.resize is not None:
        return config.resize[0], config.resize[1]
    if config.long_side is not None and max(native) > config.long_side:
        factor = config.long_side / max(native)
        return max(1, round(native[0] * factor)), max(1, round(native[1] * factor))
    return native


def plan_fit(native: tuple[int, int], stride: int, config: DatasetConfig) -> Fit:
    """The fit of an image of `native` size (height, width) to a network whose input must be a multiple of `stride`.

    The padding is halved, the odd pixel going to the bottom and the right: 101 → 128 pads 13 and 14.
    """
    scaled = scaled_size(native, config)
    network = (-(-scaled[0] // stride) * stride, -(-scaled[1] // stride) * stride)
    return plan_pad(scaled, network, config.pad, native)


def plan_pad(size: tuple[int, int], least: tuple[int, int], border: str, native: tuple[int, int] | None = None) -> Fit:
    """The fit that pads an image of `size` (height, width) to at least `least` in both directions."""
    missing = [max(0, wanted - side) for wanted, side in zip(least, size, strict=True)]
    top, left = missing[0] // 2, missing[1] // 2
    return Fit(native or size, size, top, missing[0] - top, left, missing[1] - left, border)


def scale_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` uint8 (H, W, 3) → `size` (height, width): averaged where it shrinks, linear where it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def scale_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`mask` uint8 (H, W) in {0, 1, 255} → `size` (height, width) by nearest pixel: no new values, void stays void."""
    if mask.shape == size:
        return mask
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def pad_image(image: np.ndarray, fit: Fit) -> np.ndarray:
    """`image` uint8 (H, W, 3) of `fit.scaled` size → network size; a constant border is black.

    Reflection leaves out the border pixel (… 2 1 | 0 1 2 …) and goes on where the pad exceeds the side.
    """
    sides = (fit.top, fit.bottom, fit.left, fit.right)
    return cv2.copyMakeBorder(image, *sides, BORDERS[fit.border]) if any(sides) else image


def pad_mask(mask: np.ndarray, fit: Fit) -> np.ndarray:
    """`mask` uint8 (H, W) of `fit.scaled` size → network size, padded as the image is; a constant border is void."""
    sides = (fit.top, fit.bottom, fit.left, fit.right)
    return cv2.copyMakeBorder(mask, *sides, BORDERS[fit.border], value=VOID) if any(sides) else mask


def fit_image(image: np.ndarray, fit: Fit) -> np.ndarray:
    """`image` uint8 (H, W, 3) of native size → network size."""
    return pad_image(scale_image(image, fit.scaled), fit)


def fit_mask(mask: np.ndarray, fit: Fit) -> np.ndarray:
    """`mask` uint8 (H, W) in {0, 1, 255} of native size → network size."""
    return pad_mask(scale_mask(mask, fit.scaled), fit)


def unfit_probs(probs: "Tensor", fit: Fit) -> "Tensor":
    """Undo `fit`: slice off the padding, then resize bilinearly where the image was scaled.

    `probs` float (…, H, W) in [0, 1], network size → (…, height, width) native size. Without scaling the values are
    those of `probs`, untouched.
    """
    from torch.nn.functional import interpolate

    assert tuple(probs.shape[-2:]) == fit.padded, f"{tuple(probs.shape)} is not the network size {fit.padded}"
    height, width = fit.scaled
    sliced = probs[..., fit.top : fit.top + height, fit.left : fit.left + width]
    if fit.scaled == fit.native:
        return sliced
    flat = sliced.reshape(1, -1, height, width)
    resized = interpolate(flat, fit.native, mode="bilinear", align_corners=False)
    return resized.reshape(*probs.shape[:-2], *fit.native)
