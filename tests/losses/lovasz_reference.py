"""The Lovász extension of the Jaccard loss written down three ways, all slow, all in double, none from the package."""

from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np


def jaccard_loss(truth: np.ndarray, wrong: np.ndarray) -> float:
    """1 - |truth and prediction| / |truth or prediction| of the prediction that is wrong exactly at `wrong`."""
    prediction = truth ^ wrong
    union = (truth | prediction).sum()
    return 0.0 if union == 0 else 1.0 - (truth & prediction).sum() / union


def by_orders(errors: np.ndarray, truth: np.ndarray) -> float:
    """The extension as the largest sum of errors times growth over all orders: the loss of sets is submodular."""
    best = -np.inf
    for order in permutations(range(len(errors))):
        wrong = np.zeros(len(errors), dtype=bool)
        before = total = 0.0
        for pixel in order:
            wrong[pixel] = True
            after = jaccard_loss(truth, wrong)
            total += errors[pixel] * (after - before)
            before = after
        best = max(best, total)
    return best


def by_levels(errors: np.ndarray, truth: np.ndarray) -> float:
    """The extension as the integral over thresholds of the loss of the set of errors above the threshold."""
    levels = np.unique(np.append(errors, 0.0))
    return sum((high - low) * jaccard_loss(truth, errors >= high) for low, high in pairwise(levels))


def algorithm_1(errors: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Berman et al., algorithm 1: the value and its gradient with respect to the errors."""
    order = np.argsort(-errors, kind="stable")
    sorted_truth = truth[order].astype(float)
    intersection = truth.sum() - np.cumsum(sorted_truth)
    union = truth.sum() + np.cumsum(1 - sorted_truth)
    growth = np.diff(1 - intersection / union, prepend=0.0)
    gradient = np.empty(len(errors))
    gradient[order] = growth
    return float(errors @ gradient), gradient


def hinge(
    logits: np.ndarray, target: np.ndarray, activation: Callable[[np.ndarray], np.ndarray], skip_empty: bool = False
) -> float:
    """Mean Lovász hinge over the rows of `logits` and `target` (0, 1, 255) that hold a valid pixel."""
    values = []
    for scores, row in zip(logits, target, strict=True):
        truth, valid = row == 1, row != 255
        if not valid.any() or (skip_empty and not truth.any()):
            continue
        errors = activation(1 - np.where(truth, 1, -1) * scores)
        values.append(algorithm_1(errors[valid], truth[valid])[0])
    return float(np.mean(values)) if values else 0.0


def relu(errors: np.ndarray) -> np.ndarray:
    return np.maximum(errors, 0)


def elu1(errors: np.ndarray) -> np.ndarray:
    return np.where(errors > 0, errors, np.expm1(np.minimum(errors, 0))) + 1
