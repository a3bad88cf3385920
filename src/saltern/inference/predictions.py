"""What networks say of images: a probability for each pixel, and one that there is any foreground; and their mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltern.errors import ConfigError, unknown


@dataclass(frozen=True)
class BatchPrediction:
    """Of B images at network size, or a sum of such: then each number is that of its terms together."""

    probs: Tensor
    """(B, 1, H, W), float32 in [0, 1]."""
    presence: Tensor | None
    """(B,), float32 in [0, 1]: whether the image holds any foreground. None where the networks have no such head."""

    def __add__(self, other: "BatchPrediction") -> "BatchPrediction":
        """Number by number, on the device of `other`, in this order."""
        probs = self.probs.to(other.probs.device) + other.probs
        if self.presence is None or other.presence is None:
            assert self.presence is other.presence, "networks with a presence head and without one"
            return BatchPrediction(probs, None)
        return BatchPrediction(probs, self.presence.to(other.presence.device) + other.presence)

    def __truediv__(self, terms: int) -> "BatchPrediction":
        """The mean, where this is the sum of so many `terms`."""
        return self.each(lambda numbers: numbers / terms)

    def each(self, change: Callable[[Tensor], Tensor]) -> "BatchPrediction":
        """With `change` done to every number."""
        return BatchPrediction(change(self.probs), None if self.presence is None else change(self.presence))

    def cpu(self) -> "BatchPrediction":
        """The same in main memory."""
        return self.each(lambda numbers: numbers.cpu())


@dataclass(frozen=True)
class Mean:
    """How networks become one: what each says is `before` summed, and the sum over their number is turned back."""

    before: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]

    def term(self, said: BatchPrediction) -> BatchPrediction:
        """What one network says, as it enters the sum."""
        return said.each(self.before)

    def of(self, total: BatchPrediction, terms: int) -> BatchPrediction:
        """The mean, as probabilities, where `total` is the sum of so many terms."""
        return (total / terms).each(self.back)


SUREST = 1e-4
"""Probabilities enter a mean of logits as if they were at least this far from 0 and 1: no network outvotes the others
without limit. Stored in half precision, such means still reach 1."""


def _same(numbers: Tensor) -> Tensor:
    return numbers


MEANS = {"probs": Mean(_same, _same), "logits": Mean(lambda probs: probs.logit(SUREST), torch.sigmoid)}
"""What `inference.mean` may name. A network's own views and windows are averaged before, as probabilities, so that what
enters is what stands alone out of fold."""


def build_mean(name: str, networks: int) -> Mean:
    """The mean by name, for so many networks; that of a single one is what it says, bit for bit.

    Raises:
        ConfigError: a name that is not in MEANS.
    """
    if name not in MEANS:
        raise ConfigError(f"inference.mean: {unknown('mean', name, list(MEANS))}")
    return MEANS["probs" if networks == 1 else name]


@dataclass(frozen=True)
class Prediction:
    """Of one image at native size."""

    probs: NDArray[np.floating[Any]]
    """(height, width), in [0, 1]."""
    presence: float | None
    """In [0, 1], a float32; None where the networks have no such head."""


def higher(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """(B,) the higher presence of two parts of the same images; None has nothing to say."""
    if first is None or second is None:
        return second if first is None else first
    return torch.maximum(first, second)
