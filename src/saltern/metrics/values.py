"""A score of a data set as values of its images: what a standard error is computed of."""

import numpy as np

from saltern.metrics.clusters import Values
from saltern.metrics.noise import iou_dataset_values
from saltern.metrics.scores import MEAN_OF, PER_IMAGE, Counts


def values_of(counts: Counts, score: str) -> Values:
    """Values (N,) of images whose mean is `score`, any of those of `summarise`, of `counts` (N, 3).

    For `iou_dataset`, which is a ratio of sums, they are those of its linear part, see `iou_dataset_values`.
    """
    if score in MEAN_OF:
        return np.asarray(PER_IMAGE[MEAN_OF[score]](counts), dtype=np.float64)
    assert score == "iou_dataset", score
    return iou_dataset_values(counts)
