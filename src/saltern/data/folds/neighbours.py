"""How many tiles have a neighbour on the other side of a split: among the folds, and between test and training."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from saltern.data.folds.assign import ALWAYS_TRAIN
from saltern.data.likeness.adjacency import Link, Seams

TOLERATED = 0.01
"""Share of labelled tiles with a clear neighbour in another fold from which it is a warning."""


@dataclass(frozen=True)
class Count:
    """Images, and their share of all that could be, 0 to 1."""

    images: int
    share: float


@dataclass(frozen=True)
class Neighbours:
    """Tiles with a neighbour elsewhere: by clear links, and by all that `folds.max_ratio` lets pass."""

    across: Count
    """Labelled tiles with a clear neighbour in another fold."""
    across_possible: Count
    test: Count
    """Test tiles with a clear neighbour among the labelled ones."""
    test_possible: Count
    links: dict[str, int]
    """`clear` and `possible` links among all tiles, and how many of each may be chance."""

    def warnings(self) -> list[str]:
        """A line where tiles in different folds continue each other."""
        if self.across.share < TOLERATED:
            return []
        return [
            f"{self.across.images} labelled tiles ({self.across.share:.1%}) clearly continue one in another fold, up "
            f"to {self.across_possible.images} by looser links; {self.test.images} test tiles ({self.test.share:.1%}) "
            f"continue a labelled one, up to {self.test_possible.images}. Where these shares are alike the folds "
            "forecast this test; for new pictures take folds=adjacency"
        ]

    def lines(self) -> list[str]:
        """For people: every count in words."""
        of = self.links
        return [
            f"links between tiles: {of['clear']} clear ({of['clear_by_chance']} may be chance), "
            f"{of['possible']} possible ({of['possible_by_chance']} may be chance)",
            f"labelled tiles with a neighbour in another fold: {self.across.images} ({self.across.share:.1%}), "
            f"possibly {self.across_possible.images} ({self.across_possible.share:.1%})",
            f"test tiles with a labelled neighbour: {self.test.images} ({self.test.share:.1%}), "
            f"possibly {self.test_possible.images} ({self.test_possible.share:.1%})",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def count_neighbours(seams: Seams, fold: Sequence[int] | np.ndarray, max_ratio: float) -> Neighbours:
    """Count tiles with neighbours elsewhere.

    Args:
        seams: the links between the labelled tiles, which come first, and the test tiles.
        fold: int (labelled,): the fold of every labelled tile; one of fold -1 is beside every other fold.
        max_ratio: what counts as possible.
    """
    fold = np.asarray(fold)
    (clear, false), (possible, may_be_false) = seams.clear(), seams.loose(max_ratio)
    across, test = _counts(clear, fold, seams.count)
    across_possible, test_possible = _counts(possible, fold, seams.count)
    links = {
        "clear": len(clear),
        "clear_by_chance": false,
        "possible": len(possible),
        "possible_by_chance": may_be_false,
    }
    return Neighbours(across, across_possible, test, test_possible, links)


def _counts(links: Sequence[Link], fold: np.ndarray, count: int) -> tuple[Count, Count]:
    """Labelled tiles with a neighbour in another fold, and test tiles with a labelled neighbour."""
    labelled = len(fold)
    across, test = np.zeros(labelled, dtype=bool), np.zeros(count - labelled, dtype=bool)
    for link in links:
        one, other = sorted((link.first, link.second))
        if other < labelled:
            across[[one, other]] |= fold[one] != fold[other]
        elif one < labelled:
            test[other - labelled] = True
    across &= fold != ALWAYS_TRAIN  # never validated
    return _count(across, int((fold != ALWAYS_TRAIN).sum())), _count(test, len(test))


def _count(which: np.ndarray, among: int) -> Count:
    return Count(int(which.sum()), float(which.sum() / max(among, 1)))
