"""What networks say of images: a probability for each pixel, and one that there is any foreground."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
        return BatchPrediction(self.probs / terms, None if self.presence is None else self.presence / terms)

    def cpu(self) -> "BatchPrediction":
        """The same in main memory."""
        return BatchPrediction(self.probs.cpu(), None if self.presence is None else self.presence.cpu())


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
