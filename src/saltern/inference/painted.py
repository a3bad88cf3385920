"""What a decision paints: whether the masks of the test resemble those out of fold, and what large ones its gates take.

The decision is tuned out of fold, mostly on one network an image, and applied to the mean of several on other images.
Where it then leaves more images empty, or paints less, than chance explains, the tuned numbers do not carry over.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ttest_ind_from_stats

from saltern.inference.decide import Decision, above_threshold, decide
from saltern.inference.halves import clusters_of
from saltern.inference.predictions import Prediction
from saltern.metrics.clusters import Values, cluster_variance

SURE = 0.01
"""A difference is told where chance makes one as large less often than this."""
LARGE = 0.1
"""Share of an image above the threshold from which it is told that a gate emptied it."""

MEASURES = {"empty": "images without any foreground", "foreground": "foreground, of all pixels of an image"}
"""What is compared, key → words."""


@dataclass
class Painted:
    """The masks of some images, in numbers."""

    decision: Decision
    foreground: dict[str, float] = field(default_factory=dict)
    """Id → share of its pixels that are foreground, 0 to 1."""
    taken: dict[str, float] = field(default_factory=dict)
    """Id → share of its pixels above the threshold (once shaped), of images that a gate emptied though that is at least
    `LARGE`."""

    def mask(self, id: str, said: Prediction) -> NDArray[np.uint8]:
        """The mask (H, W) of an image, of which note is taken."""
        mask = decide(said.probs, self.decision, said.presence)
        self.foreground[id] = float(mask.mean()) if mask.size else 0.0
        if mask.size and not mask.any():
            above = above_threshold(said.probs.astype(np.float32), self.decision)
            if above.mean() >= LARGE and np.count_nonzero(above) >= self.decision.min_area:
                self.taken[id] = float(above.mean())
        return mask

    def values(self, measure: str) -> Values:
        """(N,) of MEASURES."""
        shares = np.array(list(self.foreground.values()), dtype=np.float64)
        return (shares == 0).astype(np.float64) if measure == "empty" else shares


def paint(predictions: Iterable[tuple[str, Prediction]], decision: Decision) -> Painted:
    """What `decision` makes of images, by id."""
    painted = Painted(decision)
    for id, said in predictions:
        painted.mask(id, said)
    return painted


def resemblance(oof: Painted, test: Painted, groups: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The content of `resemblance.json`.

    For each of MEASURES a two-sided Student test of two means (scipy's `ttest_ind_from_stats`; of shares of empty
    images it is the usual test of two proportions but for the quantile). Groups are respected: images that belong
    together count as fewer, by the design effect of the images out of fold (Kish, Survey Sampling, 1965), of which the
    test is taken to have the same.

    Args:
        oof: masks of the labelled images, from their out-of-fold probabilities.
        test: those of the test images, by the same decision.
        groups: id → group of the labelled images; None: each is its own.

    Returns:
        `decision`; `images` and `taken` (the ids and shares of `Painted.taken`), each of `oof` and `test`; a key of
        MEASURES → `oof`, `test`, `chance` (how often chance makes such a difference; null where a single image or group
        shows no spread) and `differs`.
    """
    assert oof.decision == test.decision, "masks of two decisions"
    clusters = clusters_of(list(oof.foreground), groups)
    parts = {"oof": oof, "test": test}
    measured = {measure: _compared(oof.values(measure), test.values(measure), clusters) for measure in MEASURES}
    return {
        "decision": oof.decision.to_json(),
        "images": {name: len(part.foreground) for name, part in parts.items()},
        **measured,
        "taken": {name: _largest_first(part.taken) for name, part in parts.items()},
    }


def _compared(oof: Values, test: Values, clusters: NDArray[np.int64]) -> dict[str, Any]:
    found = {"oof": float(oof.mean()), "test": float(test.mean())}
    if len(test) < 2 or clusters.max() < 1:
        return {**found, "chance": None, "differs": False}
    spread = float(oof.var(ddof=1))
    effect = 1.0 if spread == 0 else max(1.0, cluster_variance(oof, clusters)[0] / (spread / len(oof)))
    counts = [max(2.0, len(values) / effect) for values in (oof, test)]
    if spread == 0 and test.var() == 0:
        chance = 1.0 if found["oof"] == found["test"] else 0.0
    else:
        deviations = [math.sqrt(float(values.var(ddof=1))) for values in (oof, test)]
        said = ttest_ind_from_stats(found["oof"], deviations[0], counts[0], found["test"], deviations[1], counts[1])
        chance = float(said.pvalue)
    return {**found, "chance": chance, "differs": chance < SURE}


def _largest_first(taken: Mapping[str, float]) -> list[dict[str, Any]]:
    return [{"id": id, "share": share} for id, share in sorted(taken.items(), key=lambda item: (-item[1], item[0]))]
