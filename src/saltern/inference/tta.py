"""Test-time views: symmetries of the square, each with its inverse, of the image as it is or at a scale."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from saltern.config import parse_view

H, W = -2, -1


@dataclass(frozen=True)
class View:
    """A symmetry `apply` of (…, H, W) tensors and its inverse `undo`; both only move pixels, but for a scale."""

    apply: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor], Tensor]
    scale: float = 1.0
    """Of both sides; one that is not 1 takes effect `at` a size."""

    def at(self, size: tuple[int, int], stride: int) -> "View":
        """This view for images of `size` (height, width), multiples of the network's `stride`.

        With a scale, `apply` takes images uint8 (B, 3, H, W) of `size`, resized so that each side is the multiple of
        `stride` that is nearest to it times the scale, at least one; `undo` takes values (B, 1, …) of the network and
        gives them at `size` exactly. Both are bilinear, and averaged where they shrink.
        """
        if self.scale == 1:
            return self
        height, width = (max(1, round(side * self.scale / stride)) * stride for side in size)
        return replace(
            self,
            apply=lambda images: self.apply(_resized_images(images, (height, width))),
            undo=lambda values: _resized(self.undo(values), size),
            scale=1.0,
        )


def _resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """`values` float (B, C, H, W) at `size`, bilinear, with antialiasing where a side shrinks."""
    if tuple(values.shape[-2:]) == size:
        return values
    shrinks = values.shape[-2] > size[0] or values.shape[-1] > size[1]
    return interpolate(values, size, mode="bilinear", align_corners=False, antialias=shrinks)


def _resized_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """`images` uint8 (B, 3, H, W) at `size`, uint8."""
    return _resized(images.float(), size).round_().clamp_(0, 255).to(torch.uint8)


def _rotated(quarter_turns: int) -> View:
    return View(lambda image: image.rot90(quarter_turns, (H, W)), lambda image: image.rot90(-quarter_turns, (H, W)))


def _own_inverse(symmetry: Callable[[Tensor], Tensor]) -> View:
    return View(symmetry, symmetry)


VIEWS = {
    "identity": _own_inverse(lambda image: image),
    "hflip": _own_inverse(lambda image: image.flip(W)),
    "vflip": _own_inverse(lambda image: image.flip(H)),
    "rot90": _rotated(1),
    "rot180": _rotated(2),
    "rot270": _rotated(3),
    "transpose": _own_inverse(lambda image: image.transpose(H, W)),
    "antitranspose": _own_inverse(lambda image: image.transpose(H, W).flip((H, W))),
}
"""The eight symmetries; `inference.views` lists those whose probabilities are averaged."""

TURNING = ("rot90", "rot270", "transpose", "antitranspose")
"""Those that swap height and width."""


def build_views(names: list[str]) -> list[View]:
    """The views by name, in order; `NAME@SCALE` is that of NAME at a scale.

    Raises:
        ConfigError: a name that is not in VIEWS, or a scale that cannot be.
    """
    parsed = [parse_view(name) for name in names]
    return [replace(VIEWS[name], scale=scale) for name, scale in parsed]
