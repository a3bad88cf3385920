"""Albumentations' transforms on whole batches, on the device that holds them; the library draws their parameters.

Flips, brightness and contrast give the library's bits. A warp takes each pixel from the place where OpenCV takes it
from, and weighs its four neighbours in float32: with OpenCV 5 about one value in 5,000 is another, by one level, since
it rounds elsewhere; OpenCV 4 also rounds the places, to 1/32 of a pixel. A mask takes the nearest pixel, so its values
stay {0, 1, 255}.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from saltern.errors import ConfigError

Drawn = Sequence[Mapping[str, Any] | None]
"""The parameters that a transform drew for each image of a batch; None where its `p` left the image alone."""


class BatchTransform(Protocol):
    """One configured transform, done to a batch."""

    def plan(self, drawn: Drawn) -> np.ndarray:
        """What `apply` needs of the parameters, one entry for each image."""

    def apply(self, images: Tensor, targets: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, H, W, 3) and targets uint8 (B, H, W) → the same shapes; `plan` lies on their device."""


class _Flip:
    """Mirrored, along one of the dimensions of (B, H, W)."""

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def plan(self, drawn: Drawn) -> np.ndarray:
        """Which images are mirrored, bool (B,)."""
        return np.array([params is not None for params in drawn])

    def apply(self, images: Tensor, targets: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """See `BatchTransform.apply`."""
        flipped = images.flip(self._dimension), targets.flip(self._dimension)
        return torch.where(plan[:, None, None, None], flipped[0], images), torch.where(
            plan[:, None, None], flipped[1], targets
        )


class _Levels:
    """Brightness and contrast, as a table of grey levels that the library itself makes."""

    def __init__(self, transform: Any, where: str) -> None:
        if not transform.brightness_by_max:
            raise ConfigError(
                f"{where}.args.brightness_by_max=False: expected true where dataset.cache=device, since the mean of an "
                "image is not known when its augmentation is drawn; or set dataset.cache=auto."
            )
        self._transform = transform

    def plan(self, drawn: Drawn) -> np.ndarray:
        """What each image makes of the levels 0 to 255, uint8 (B, 256)."""
        levels = np.arange(256, dtype=np.uint8)[:, None]
        tables = [levels if params is None else self._transform.apply(levels, **params) for params in drawn]
        return np.stack([table.reshape(256) for table in tables])

    def apply(self, images: Tensor, targets: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """See `BatchTransform.apply`."""
        return plan.gather(1, images.flatten(1).long()).reshape(images.shape), targets


class _Warp:
    """Shifted, scaled, turned and sheared, as one matrix for each image."""

    def __init__(self, transform: Any, where: str) -> None:
        expected = {"interpolation": cv2.INTER_LINEAR, "fit_output": False}  # of masks the builder allows nearest alone
        for key, value in expected.items():
            if getattr(transform, key) != value:
                raise ConfigError(
                    f"{where}.args.{key}={getattr(transform, key)!r}: expected {value!r} where dataset.cache=device; "
                    "or set dataset.cache=auto."
                )
        self._border = int(transform.border_mode)
        self._fills = transform.fill, transform.fill_mask

    def plan(self, drawn: Drawn) -> np.ndarray:
        """From the place of a pixel to where it is taken from, (x, y, 1) → (x, y), float64 (B, 2, 3)."""
        matrices = [np.eye(3) if params is None else params["matrix"] for params in drawn]
        return np.stack([cv2.invertAffineTransform(np.asarray(matrix, np.float64)[:2]) for matrix in matrices])

    def apply(self, images: Tensor, targets: Tensor, plan: Tensor) -> tuple[Tensor, Tensor]:
        """See `BatchTransform.apply`."""
        height, width = targets.shape[1:]
        down = torch.arange(height, dtype=plan.dtype, device=plan.device)[:, None]
        along = torch.arange(width, dtype=plan.dtype, device=plan.device)
        x, y = (
            plan[:, k, 0, None, None] * along + plan[:, k, 1, None, None] * down + plan[:, k, 2, None, None]
            for k in (0, 1)
        )
        return self._weighed(images, y, x), self._nearest(targets, y, x)

    def _nearest(self, targets: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return taken(targets, y.round().long(), x.round().long(), self._border, self._fills[1])

    def _weighed(self, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
        top, left = y.floor(), x.floor()
        sums = torch.zeros(images.shape, dtype=torch.float32, device=images.device)
        for step_y, step_x in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight_y = (y - top) if step_y else (1 - (y - top))
            weight_x = (x - left) if step_x else (1 - (x - left))
            values = taken(images, top.long() + step_y, left.long() + step_x, self._border, self._fills[0])
            sums += (weight_y * weight_x).float()[..., None] * values
        return sums.round_().clamp_(0, 255).to(torch.uint8)


TRANSFORMS: dict[str, Callable[[Any, str], BatchTransform]] = {
    "HorizontalFlip": lambda transform, where: _Flip(2),
    "VerticalFlip": lambda transform, where: _Flip(1),
    "Affine": _Warp,
    "ShiftScaleRotate": _Warp,
    "RandomBrightnessContrast": _Levels,
}
"""Name of a transform of the library → what does it to batches, made of the library's own transform and its place."""


def build_transforms(transforms: Sequence[Any]) -> list[BatchTransform]:
    """What does the library's `transforms` to batches.

    Raises:
        ConfigError: one that cannot be done on the device, or an argument of it.
    """
    built = []
    for number, transform in enumerate(transforms):
        name, where = type(transform).__name__, f"augment.transforms[{number}]"
        if name not in TRANSFORMS:
            raise ConfigError(
                f"{where}.name={name!r}: cannot be done where dataset.cache=device; these can: "
                f"{', '.join(TRANSFORMS)}. Set dataset.cache=auto for any other."
            )
        built.append(TRANSFORMS[name](transform, where))
    return built


def inside(places: Tensor, side: int, border: int) -> Tensor:
    """`places` int64, also beyond 0 to `side` - 1 → places within that hold the same by OpenCV's `border`.

    -1 where the border is a constant.
    """
    if border == cv2.BORDER_CONSTANT:
        return torch.where((places < 0) | (places >= side), -1, places)
    if border == cv2.BORDER_REPLICATE:
        return places.clamp(0, side - 1)
    if border == cv2.BORDER_WRAP:
        return places.remainder(side)
    if border == cv2.BORDER_REFLECT:
        place = places.remainder(2 * side)
        return torch.minimum(place, 2 * side - 1 - place)
    assert border == cv2.BORDER_REFLECT_101, f"OpenCV has no border {border} for a warp"
    period = max(2 * (side - 1), 1)
    place = places.remainder(period)
    return torch.minimum(place, period - place) if side > 1 else torch.zeros_like(places)


def taken(pixels: Tensor, y: Tensor, x: Tensor, border: int, fill: float | Sequence[float]) -> Tensor:
    """`pixels` uint8 (B, H, W) or (B, H, W, C) at rows `y` and columns `x`, int64, that broadcast to (B, h, w).

    Beyond the image it is what OpenCV's `border` says; where that is constant, `fill`: a level, or one for each of C.

    Returns:
        uint8 (B, h, w) or (B, h, w, C).
    """
    y, x = inside(y, pixels.shape[1], border), inside(x, pixels.shape[2], border)
    number = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    if border != cv2.BORDER_CONSTANT:
        return pixels[number, y, x]
    found = pixels[number, y.clamp(0), x.clamp(0)]
    outside = (y < 0) | (x < 0)
    constant = torch.tensor(fill, device=pixels.device).round().clamp(0, 255).to(torch.uint8)
    return torch.where(outside if pixels.ndim == 3 else outside[..., None], constant, found)
