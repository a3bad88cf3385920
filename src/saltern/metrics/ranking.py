"""How well a number tells one kind of image from another, whatever threshold is put to it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def roc_auc(values: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve of `values` (N,) against `positive` (N,): 0.5 is chance, 1 is perfect.

    It is the share of pairs of a positive and a negative in which the positive has the higher value; a tie counts
    half (Mann and Whitney, Ann. Math. Stat. 18, 1947). None where there are no positives, or no negatives.
    """
    positives = int(np.count_nonzero(positive))
    pairs = positives * (len(positive) - positives)
    if not pairs:
        return None
    ranks = float(rankdata(values)[positive].sum())  # from 1; ties share their mean
    return (ranks - positives * (positives + 1) / 2) / pairs
