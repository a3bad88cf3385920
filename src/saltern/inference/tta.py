"""Test-time views: symmetries of the square, each with its inverse."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from saltern.config import ConfigError
from saltern.errors import unknown

H, W = -2, -1


@dataclass(frozen=True)
class View:
    """A symmetry `apply` of (…, H, W) tensors and its inverse `undo`; both only move pixels."""

    apply: Callable[[Tensor], Tensor]
    undo: Callable[[Tensor], Tensor]


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
    """The views by name, in order.

    Raises:
        ConfigError: a name that is not in VIEWS.
    """
    for name in names:
        if name not in VIEWS:
            raise ConfigError(f"inference.views: {unknown('view', name, list(VIEWS))}")
    return [VIEWS[name] for name in names]
