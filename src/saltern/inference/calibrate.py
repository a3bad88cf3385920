"""Monotone maps that make the probabilities of a run mean what they say, fitted on pixels that its networks never saw.

Stored probabilities are float16, of which there are 15,361 in [0, 1]. Pixels counted by these numbers, apart for each
part of the images, hold all that a fit of any set of parts needs, so that the pixels are read once.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from saltern.inference.decide import as_probabilities
from saltern.inference.predictions import SUREST

ONE = int(np.array(1, np.float16).view(np.uint16))
"""The bits of 1.0, as a number; those of the probabilities below it are the numbers below."""
LEVELS = np.arange(ONE + 1, dtype=np.uint16).view(np.float16).astype(np.float64)
"""Every half-precision number in [0, 1], ascending."""

Histogram = NDArray[np.int64]
"""(2, 15361) valid pixels of the truth's background and foreground, by their probability."""


@dataclass(frozen=True)
class Platt:
    """p → sigmoid(slope · logit(p) + offset), with a slope above 0 (Platt, 1999).

    Two numbers: no order of pixels is changed and no two of them become one, as isotonic regression would have it.
    Logits are of probabilities that are at least SUREST away from 0 and 1.
    """

    slope: float = 1.0
    offset: float = 0.0

    def to_json(self) -> dict[str, float]:
        """Its two numbers."""
        return asdict(self)


@lru_cache(maxsize=256)
def table_of(platt: Platt | None, how: str) -> NDArray[np.float32]:
    """(15361,) what each number of LEVELS enters a mean as: a logit where `how` is `logits`, else a probability."""
    logits = logit(LEVELS.clip(SUREST, 1 - SUREST))
    if platt is not None:
        logits = platt.slope * logits + platt.offset
    elif how != "logits":
        return LEVELS.astype(np.float32)
    return (logits if how == "logits" else expit(logits)).astype(np.float32)


def places(probs: NDArray[np.floating[Any]]) -> NDArray[np.uint16]:
    """Where each of `probs`, in [0, 1] up to rounding, stands in LEVELS; same shape.

    Raises:
        RunError: numbers that are no probabilities.
    """
    return (as_probabilities(probs).clip(0, 1) + np.float32(0)).astype(np.float16).view(np.uint16)


def histogram(probs: NDArray[np.floating[Any]], target: NDArray[np.integer[Any]]) -> Histogram:
    """Of one image: `probs` (H, W) and `target` (H, W) of {0, 1, 255}."""
    valid = target != 255
    kinds = (target[valid] == 1).astype(np.int64)
    counted = np.bincount(places(probs)[valid] + kinds * (ONE + 1), minlength=2 * (ONE + 1))
    return counted.reshape(2, -1).astype(np.int64)


def fit_platt(counted: Histogram) -> Platt | None:
    """The map with the highest likelihood of these pixels; None where they show none.

    That is where they are all of one kind, or foreground does not become likelier with the probability.
    """
    if not counted.any(axis=1).all():
        return None
    kind, place = np.nonzero(counted)
    logits = logit(LEVELS[place].clip(SUREST, 1 - SUREST))[:, None]
    if np.ptp(logits) == 0:
        return None
    found = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(logits, kind, counted[kind, place])
    slope, offset = float(found.coef_[0, 0]), float(found.intercept_[0])
    return Platt(slope, offset) if slope > 0 and np.isfinite([slope, offset]).all() else None
