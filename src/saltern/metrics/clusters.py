"""The mean over images of which some belong together: its variance, its degrees of freedom, its lean.

Labels are whole numbers from 0, one an image (`numbered`); every number up to the highest occurs.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def cluster_variance(scores: Values, labels: NDArray[np.int64]) -> tuple[float, float]:
    """Variance of the mean of `scores` from the sums over clusters, and its degrees of freedom, both CR2's.

    The sum over a cluster is divided by the root of 1 - its share of the images, so that the variance is unbiased where
    images are independent, whatever the sizes. The degrees are those of independent images too: clusters - 1 where all
    are of one size. There must be two clusters or more.
    """
    total = len(scores)
    sizes = np.bincount(labels).astype(np.float64)
    sums = np.bincount(labels, weights=scores - scores.mean())
    factor = 1 / (1 - sizes / total)
    variance = float((factor * sums**2).sum()) / total**2
    cross = (factor * sizes**2).sum() ** 2 - (factor**2 * sizes**4).sum()
    return variance, float(total**2 / ((sizes**2).sum() + cross / total**2))


def third_moment(scores: Values, labels: NDArray[np.int64]) -> float:
    """Third central moment of the mean of `scores`, corrected for few clusters as a sample's skewness is; 0 for two."""
    sums = np.bincount(labels, weights=scores - scores.mean())
    count = len(sums)
    correction = math.sqrt(count * (count - 1)) / (count - 2) if count > 2 else 0.0
    return correction * float((sums**3).sum()) / len(scores) ** 3


def numbered(labels: Any) -> NDArray[np.int64]:
    """Labels of any kind as whole numbers from 0."""
    return np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1).astype(np.int64)
