"""What a set of images says by itself: which continue each other, and which look the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saltern.data.likeness.adjacency import Seams, find_seams
from saltern.data.likeness.duplicates import near_clusters
from saltern.data.likeness.fingerprints import Fingerprint
from saltern.data.likeness.resemblance import Resemblance, resemblance_of
from saltern.progress import Progress


@dataclass(frozen=True)
class Looks:
    """Of N images; all indices are places among them."""

    prints: Sequence[Fingerprint]
    seams: Seams
    twins: np.ndarray
    """int (N,): exact and near-duplicates share a label."""

    @classmethod
    def of(cls, prints: Sequence[Fingerprint], progress: Progress | None = None) -> "Looks":
        """Compare all images with each other."""
        return cls(prints, find_seams(prints, progress), near_clusters(prints, progress))

    def resemblance(self, labelled: np.ndarray) -> Resemblance:
        """The images where `labelled`, bool (N,), beside the others, which are the test."""
        return resemblance_of(self.prints, labelled, self.seams.clear()[0], self.twins)
