"""Does the test resemble the validation? What labelled and test images have in common, and which folds follow from it.

A fold forecasts the test where its images are as far from the training images as the test images are. So what is
counted is the same for both: images that continue a labelled image, and images that look like one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import ks_2samp

from saltern.data.likeness.adjacency import Link
from saltern.data.likeness.fingerprints import Fingerprint

ALIKE = 0.5
"""Test images are as near to the labelled ones as these to each other from this share of their frequency on."""
MANY = 0.01
"""Share of images from which neighbours or look-alikes count."""
FAR_APART = 0.2
"""Standardised difference of brightness or contrast from which it is told (small, by Cohen, 1988) …"""
SURE = 0.01
"""… where chance makes one as large (Kolmogorov and Smirnov) less often than this."""


@dataclass(frozen=True)
class Shares:
    """Of the labelled and of the test images, 0 to 1; None without such images."""

    labelled: float | None
    test: float | None


@dataclass(frozen=True)
class Spread:
    """One measure of every image, among labelled and test images."""

    labelled: float
    """Mean over the labelled images, grey levels."""
    test: float
    difference: float
    """Test less labelled, in standard deviations of both together."""
    ks: float
    """Largest gap between the two distributions, 0 to 1 (Kolmogorov and Smirnov)."""
    chance: float
    """How often chance makes such a gap."""


@dataclass(frozen=True)
class Resemblance:
    """Labelled and test images side by side."""

    images: dict[str, int]
    """`labelled` and `test`."""
    neighbours: Shares
    """Images that clearly continue another labelled image at a border."""
    alike: Shares
    """Images that look the same as another labelled image; constant ones are not counted."""
    new_sizes: float | None
    """Share of test images of a size that no labelled image has."""
    brightness: Spread | None
    """Mean grey of an image; None where labelled or test images are fewer than two."""
    contrast: Spread | None
    """Standard deviation within an image's thumbnail, grey levels."""
    recommended: str
    """What to give as `folds=`."""
    why: str

    def lines(self) -> list[str]:
        """For people: what was compared, a line each, and the recommendation last."""
        said = [
            f"continue a labelled image: {_both(self.neighbours)}",
            f"look like a labelled image: {_both(self.alike)}",
        ]
        for name, spread in (("brightness", self.brightness), ("contrast", self.contrast)):
            if spread is not None:
                verdict = "differ" if _differs(spread) else "alike"
                said.append(
                    f"{name}, mean in grey levels: labelled {spread.labelled:.1f}, test {spread.test:.1f} "
                    f"({verdict}: {spread.difference:+.2f} standard deviations, KS {spread.ks:.3f})"
                )
        if self.new_sizes is not None:
            said.append(f"test images of a size that no labelled image has: {self.new_sizes:.1%}")
        return [*said, f"recommended: folds={self.recommended}, since {self.why}"]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def resemblance_of(
    prints: Sequence[Fingerprint], labelled: np.ndarray, links: Sequence[Link], twins: np.ndarray
) -> Resemblance:
    """Compare the labelled images with the test images.

    Args:
        prints: the fingerprints of all N images.
        labelled: bool (N,); the others are test images.
        links: the clear ones of `saltern.data.likeness.adjacency.Seams`, indices into `prints`.
        twins: int (N,), as of `saltern.data.likeness.duplicates.near_clusters`.
    """
    beside = np.zeros(len(prints), dtype=bool)
    for link in links:
        beside[link.first] |= labelled[link.second]
        beside[link.second] |= labelled[link.first]
    varied = np.array([not item.constant for item in prints], dtype=bool)
    in_cluster = np.bincount(twins[labelled], minlength=int(twins.max()) + 1 if len(twins) else 0)
    alike = varied & (in_cluster[twins] > labelled.astype(int))  # more than itself
    neighbours, look_alikes = (_shares(which, labelled) for which in (beside, alike))
    means, spreads = ([float(measure(item.thumb)) for item in prints] for measure in (np.mean, np.std))
    known = {item.size for item, own in zip(prints, labelled, strict=True) if own}
    new = [item.size not in known for item, own in zip(prints, labelled, strict=True) if not own]
    return Resemblance(
        {"labelled": int(labelled.sum()), "test": int((~labelled).sum())},
        neighbours,
        look_alikes,
        float(np.mean(new)) if new else None,
        _spread(np.array(means), labelled),
        _spread(np.array(spreads), labelled),
        *_recommended(neighbours, look_alikes),
    )


def _shares(which: np.ndarray, labelled: np.ndarray) -> Shares:
    shares = [float(which[part].mean()) if part.any() else None for part in (labelled, ~labelled)]
    return Shares(*shares)


def _spread(values: np.ndarray, labelled: np.ndarray) -> Spread | None:
    ours, theirs = values[labelled], values[~labelled]
    if min(len(ours), len(theirs)) < 2:
        return None
    both = np.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2)
    found = ks_2samp(ours, theirs)
    gap = float(theirs.mean() - ours.mean())
    return Spread(
        float(ours.mean()), float(theirs.mean()), gap / max(float(both), 1e-6),
        float(found.statistic), float(found.pvalue),
    )  # fmt: skip


def _differs(spread: Spread) -> bool:
    return abs(spread.difference) >= FAR_APART and spread.chance < SURE


def _recommended(neighbours: Shares, alike: Shares) -> tuple[str, str]:
    """A choice of `folds=`, and why."""
    for kind, verb, shares in (("adjacency", "continue", neighbours), ("duplicates", "look like", alike)):
        if (shares.labelled or 0.0) < MANY:
            continue
        ours = f"{shares.labelled:.1%} of the labelled images {verb} another labelled one"
        if shares.test is None:
            return kind, f"{ours}, and without test images nothing says that the test will be as near to them"
        theirs = f"{shares.test:.1%} of the test images do"
        if shares.test >= ALIKE * (shares.labelled or 0.0):
            return "stratified", (
                f"{ours} and {theirs} as well: its folds forecast this test, while folds={kind} forecasts "
                "images that are new"
            )
        return kind, f"{ours} but only {theirs}: other folds would promise too much"
    return "stratified", "too few labelled images continue or resemble each other to matter"


def _both(shares: Shares) -> str:
    named = (("labelled", shares.labelled), ("test", shares.test))
    return ", ".join(f"{share:.1%} of the {name} images" for name, share in named if share is not None)
