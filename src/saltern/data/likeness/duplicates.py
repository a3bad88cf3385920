"""Images that are the same, or nearly: by content hash, and by perceptual hash with a second look.

Frames of a fixed camera look alike in nearly every pair, so pairs are not listed: an image is compared with those that
are not in its cluster yet. Each comparison then makes one cluster of two, which cannot happen more often than there are
images, or it fails, and after `FRUITLESS` failures the image is left as it is, with a warning.
"""

import logging
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from saltern.data.likeness.fingerprints import Fingerprint
from saltern.progress import Progress

NEAR_BITS = 8
"""Perceptual hashes of near-duplicates differ in at most this many of 64 bits …"""
NEAR_CORRELATION = 0.98
"""… and their thumbnails correlate at least so well."""
FRUITLESS = 256
"""Comparisons in vain after which an image is not compared with further ones, less alike by their hashes."""
_AT_ONCE = 64
"""Thumbnails compared with one at a time."""
_LOG = logging.getLogger(__name__)


def exact_clusters(prints: Sequence[Fingerprint]) -> np.ndarray:
    """A label for every image, (N,) int; images of equal pixels share one."""
    return _numbered([item.digest for item in prints])


def near_clusters(prints: Sequence[Fingerprint], progress: Progress | None = None) -> np.ndarray:
    """A label for every image, (N,) int; exact and near-duplicates, and chains of them, share one.

    Constant images look like nothing but their exact duplicates. A warning tells of images that look like so many
    others by their hashes, and in vain, that they were not compared with all of them.
    """
    exact = exact_clusters(prints)
    distinct = [prints[index] for index in np.unique(exact, return_index=True)[1]]
    labels = np.arange(len(distinct), dtype=np.int64)
    useful = np.array([index for index, item in enumerate(distinct) if not item.constant], dtype=np.int64)
    if len(useful) > 1:
        labels[useful] = useful[_near([distinct[index] for index in useful], progress or Progress())]
    return _numbered(labels[exact].tolist())


def _numbered(keys: Sequence[Hashable]) -> np.ndarray:
    """0, 1, … for the keys (N) in the order in which each stands first."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)


def joined(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`labels` (N,) from 0 without gaps, after every pair of labels in `pairs` (M, 2) has been made one."""
    count = int(labels.max()) + 1 if len(labels) else 0
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1][labels].astype(np.int64)


def _near(prints: Sequence[Fingerprint], progress: Progress) -> np.ndarray:
    """A label, (N,) int, that near-duplicates share, and chains of them: the index of one of them.

    Every hash is compared with every other, which is quick (22,000 images: 242 million comparisons, a second);
    thumbnails only where the hashes are near and the images not joined yet, the nearest first.
    """
    hashes = np.array([item.phash for item in prints], dtype=np.uint64)
    thumbs = _unit([item.thumb for item in prints])
    labels = np.arange(len(prints), dtype=np.int64)
    given_up = 0
    with progress.track("compare images", len(prints)) as line:
        for index in range(len(prints)):
            differing = np.bitwise_count(hashes[index + 1 :] ^ hashes[index])
            near = np.flatnonzero(differing <= NEAR_BITS)
            if len(near):
                others = near + index + 1
                apart = labels[others] != labels[index]
                others = others[apart][np.argsort(differing[near[apart]], kind="stable")]
                given_up += not _join(labels, index, others, thumbs)
            line.advance(1)
    if given_up:
        _LOG.warning(
            "%d of %d images look like many others by their perceptual hashes, but not on a second look; after %d vain "
            "comparisons they were not compared further, so near-duplicates of theirs may be missed.",
            given_up, len(prints), FRUITLESS,
        )  # fmt: skip
    return labels


def _join(labels: np.ndarray, index: int, others: np.ndarray, thumbs: np.ndarray) -> bool:
    """Give the label of image `index` to those of `others`, and to all of their clusters, that look the same.

    Returns whether it was compared with all; `labels` (N,) is changed in place.
    """
    vain = 0
    while len(others) and vain < FRUITLESS:
        some, others = others[:_AT_ONCE], others[_AT_ONCE:]
        same = some[thumbs[some] @ thumbs[index] >= NEAR_CORRELATION]
        vain += len(some) - len(same)
        if len(same):
            renamed = np.arange(len(labels))
            renamed[labels[same]] = labels[index]
            labels[:] = renamed[labels]
            others = others[labels[others] != labels[index]]
    return not len(others)


def _unit(thumbs: Sequence[np.ndarray]) -> np.ndarray:
    """Thumbnails as float32 (N, D), of mean 0 and length 1: their products are correlations."""
    flat = np.stack(thumbs).reshape(len(thumbs), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return flat
