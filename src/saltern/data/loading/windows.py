"""Large images in overlapping windows, and their probabilities blended into one."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A rectangle of the network-size image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, images: Tensor) -> Tensor:
        """The rectangle of `images` (…, H, W); a view."""
        return images[..., self.top : self.top + self.height, self.left : self.left + self.width]


def plan_windows(size: tuple[int, int], window: int, stride: int, overlap: float = 0.25) -> list[Window]:
    """Windows of one size that cover `size` (height, width), row by row.

    Args:
        size: Of the padded image; both multiples of `stride`.
        window: The longest side of a window, pixels; rounded down to a multiple of `stride`, but at least one.
        stride: Of the network.
        overlap: The least share of a window that its neighbour covers too, from 0 to below 1.
    """
    assert 0 <= overlap < 1, overlap
    assert size[0] % stride == 0, size
    assert size[1] % stride == 0, size
    longest = max(window // stride, 1) * stride
    height, width = min(size[0], longest), min(size[1], longest)
    tops, lefts = _starts(size[0], height, overlap), _starts(size[1], width, overlap)
    return [Window(top, left, height, width) for top in tops for left in lefts]


def _starts(side: int, length: int, overlap: float) -> list[int]:
    """Evenly spread starts, the first at 0 and the last at `side - length`."""
    step = max(1, int(length * (1 - overlap)))
    gaps = -(-(side - length) // step)
    return [round(index * (side - length) / gaps) for index in range(gaps + 1)] if gaps else [0]


class Blend:
    """Weighted mean of overlapping windows: a window counts most in its middle, least at its edge.

    Where all windows say the same, so does the result; with one window over everything it is that window.
    """

    def __init__(self, images: int, size: tuple[int, int], device: torch.device | str = "cpu") -> None:
        self._sum = torch.zeros(images, 1, *size, device=device)
        self._weight = torch.zeros(1, 1, *size, device=device)

    def add(self, probs: Tensor, window: Window) -> None:
        """Take in `probs` (B, 1, h, w) of `window`."""
        weight = _ramp(window.height, self._sum.device)[:, None] * _ramp(window.width, self._sum.device)
        window.of(self._sum).add_(probs.float() * weight)
        window.of(self._weight).add_(weight)

    def result(self) -> Tensor:
        """The blended probabilities (B, 1, H, W), float32; NaN where no window was, which `plan_windows` rules out."""
        return self._sum / self._weight


def _ramp(length: int, device: torch.device) -> Tensor:
    """1 at the window's middle, falling linearly towards its edges, never 0."""
    position = torch.arange(length, device=device, dtype=torch.float32)
    return torch.minimum(position + 1, length - position) / ((length + 1) // 2)
