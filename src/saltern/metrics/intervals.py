"""The interval of a mean whose variance has several parts, each known so well and no better.

The quantile is Student's t: that of each part's degrees of freedom, weighted by the part's variance (Cochran and Cox,
Experimental Designs, 1957). It agrees to 0.02 with the quantile of the sum of two independent t variables (Behrens and
Fisher), where Satterthwaite's single t would be up to 0.26 too small for a part of 4 degrees beside a well-known one.

Scores lean to one side, so the interval is bent by Hall's cubic transformation (J. R. Stat. Soc. B 54, 1992): without
it 92 of 100 intervals over 20 images hold (`benchmarks/honesty.py`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

MOST_SKEW = 1.0
"""Of a mean; what three or four clusters show beyond it is chance."""


@dataclass(frozen=True)
class Interval:
    """A mean with its interval. Where nothing can be said, `se` is infinite and the interval is all numbers."""

    mean: float
    low: float
    high: float
    se: float
    """Standard error: the root of the sum of the parts."""
    images: float = 0.0
    """The part of the variance that the choice of images makes."""
    retrain: float = 0.0
    """The part that training again makes."""
    quantile: float = math.inf
    """Student's t that `low` and `high` were made with; 1.96 where all is known and `level` is 0.95."""
    third: float = 0.0
    """Third central moment of the mean, from the images: which side the interval leans to."""
    clusters: int = 0
    """How many independent pieces the images are."""

    @property
    def said(self) -> bool:
        """Whether anything can be said: a single image or a single cluster shows no spread."""
        return math.isfinite(self.se)

    @property
    def half(self) -> float:
        """Half the width: about the ± of the mean."""
        return (self.high - self.low) / 2 if self.said else math.inf


def interval_of(
    mean: float, parts: Iterable[tuple[float, float]], level: float = 0.95, third: float = 0.0, *, clusters: int = 0
) -> Interval:
    """The interval of a mean whose variance is a sum of independent parts, each (variance, degrees of freedom).

    The first part is that of the images, the others count as retraining. A forecast adds to the images' part the
    variance of the mean of the images that are to come.

    `third` is the third central moment of the mean; 0 gives an interval that is even on both sides.
    """
    (images, _), *others = listed = list(parts)
    total = sum(variance for variance, _ in listed)
    if not total:
        return Interval(mean, mean, mean, 0.0, quantile=0.0, clusters=clusters)
    se = math.sqrt(total)
    quantile = sum(variance * float(stdtrit(df, 0.5 + level / 2)) for variance, df in listed) / total
    skew = min(max(third / total**1.5, -MOST_SKEW), MOST_SKEW)
    low, high = (mean - se * _bent(point, skew) for point in (quantile, -quantile))
    retrain = sum(variance for variance, _ in others)
    return Interval(mean, low, high, se, images, retrain, quantile, third, clusters)


def _bent(point: float, skew: float) -> float:
    """Where Hall's transformed statistic is `point`: the studentised mean, for a mean of this skewness."""
    if abs(skew) < 1e-9:
        return point
    return 3 / skew * (float(np.cbrt(1 + skew * (point - skew / 6))) - 1)
