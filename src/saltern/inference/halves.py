"""Images cut in two so that no group is cut: for what may be chosen on one half and scored on the other."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saltern.errors import RunError

Labels = NDArray[np.int64]


def clusters_of(ids: Sequence[str], groups: Mapping[str, str] | None) -> Labels:
    """(N,) the number of the cluster of each image, from 0: its group; with None every image is its own.

    Raises:
        RunError: an image without a group.
    """
    if groups is None:
        return np.arange(len(ids), dtype=np.int64)
    missing = [name for name in ids if name not in groups]
    if missing:
        raise RunError(
            f"groups.csv: says nothing of {len(missing)} images, such as {missing[0]!r}; expected every labelled one. "
            "Put the file back as it was."
        )
    return np.unique([groups[name] for name in ids], return_inverse=True)[1].astype(np.int64)


def balanced_halves(ids: Sequence[str], clusters: Labels) -> Labels:
    """(N,) 0 or 1 for each image, the same ones every time, whatever the order of the images.

    The largest cluster goes first, each to the half with fewer images so far; clusters of one size come in the order of
    a hash of their first id. Clusters of one image make halves that differ by at most one. With a single cluster all
    are 0.
    """
    members: dict[int, list[int]] = {}
    for row, cluster in enumerate(clusters.tolist()):
        members.setdefault(cluster, []).append(row)

    def place(rows: list[int]) -> tuple[int, bytes]:
        first = min(ids[row] for row in rows)
        return -len(rows), hashlib.blake2b(first.encode(), digest_size=8).digest()

    halves, sizes = np.empty(len(ids), np.int64), [0, 0]
    for rows in sorted(members.values(), key=place):
        half = int(sizes[1] < sizes[0])
        halves[rows] = half
        sizes[half] += len(rows)
    return halves


def random_half(clusters: Labels, random: np.random.Generator) -> NDArray[np.bool_]:
    """(N,) whether an image is in the first half.

    Whole clusters in random order, as near to half of the images as can be; at least one in each half, so there must be
    two.
    """
    sizes = np.bincount(clusters)
    assert len(sizes) > 1, "a single cluster has no halves"
    order = random.permutation(len(sizes))
    filled = np.cumsum(sizes[order])[:-1]
    first = np.zeros(len(sizes), bool)
    first[order[: int(np.abs(2 * filled - len(clusters)).argmin()) + 1]] = True
    return first[clusters]
