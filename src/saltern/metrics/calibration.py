"""Whether probabilities are what they say: among pixels of probability 0.7, are seven of ten foreground?"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Of equal width, as in Guo et al."""


@dataclass
class Reliability:
    """Valid pixels by their probability of foreground; arrays are (BINS,), a bin holds its upper edge."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    probability: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))
    """Sum of the probabilities."""
    foreground: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, probs: NDArray[np.floating[Any]], target: NDArray[np.integer[Any]]) -> None:
        """Count an image: `probs` (H, W) in [0, 1], `target` (H, W) of {0, 1, 255}; void pixels count nowhere."""
        assert probs.shape == target.shape, f"probabilities {probs.shape}, target {target.shape}"
        valid = target != 255
        values, truth = probs[valid].astype(np.float64), target[valid] == 1
        bins = np.clip(np.ceil(values * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.pixels += np.bincount(bins, minlength=BINS)
        self.probability += np.bincount(bins, weights=values, minlength=BINS)
        self.foreground += np.bincount(bins[truth], minlength=BINS)

    def plus(self, other: "Reliability") -> "Reliability":
        """Of the pixels of both."""
        return Reliability(
            self.pixels + other.pixels, self.probability + other.probability, self.foreground + other.foreground
        )

    @property
    def ece(self) -> float:
        """Expected calibration error, in [0, 1]: mean distance of share and probability over bins, by their pixels.

        Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning (AAAI 2015); here of the
        probability of foreground, not of the likelier class as in Guo et al. (arXiv 1706.04599).
        """
        total = int(self.pixels.sum())
        assert total, "no valid pixel"
        return float(np.abs(self.foreground - self.probability).sum()) / total

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean probability, and share of foreground, of the bins that hold a pixel."""
        held = self.pixels > 0
        return self.probability[held] / self.pixels[held], self.foreground[held] / self.pixels[held]
