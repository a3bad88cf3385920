"""Images that are the same, or nearly: by content hash, and by perceptual hash with a second look."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from saltern.data.likeness.fingerprints import Fingerprint

NEAR_BITS = 8
"""Perceptual hashes of near-duplicates differ in at most this many of 64 bits …"""
NEAR_CORRELATION = 0.98
"""… and their thumbnails correlate at least so well."""
_BLOCK = 256
_CONFIRMED = 16_384
"""Pairs whose thumbnails are compared at once: 128 MB."""


def exact_clusters(prints: Sequence[Fingerprint]) -> np.ndarray:
    """A label for every image, (N,) int; images of equal pixels share one."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(item.digest, len(first)) for item in prints], dtype=np.int64)


def near_clusters(prints: Sequence[Fingerprint]) -> np.ndarray:
    """A label for every image, (N,) int; exact and near-duplicates, and chains of them, share one."""
    exact = exact_clusters(prints)
    representative = np.unique(exact, return_index=True)[1]
    labels = np.arange(len(representative), dtype=np.int64)
    for pairs in near_pairs([prints[index] for index in representative]):
        labels = joined(labels, labels[pairs])
    return labels[exact]


def joined(labels: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """`labels` (N,) from 0 without gaps, after every pair of labels in `pairs` (M, 2) has been made one."""
    count = int(labels.max()) + 1 if len(labels) else 0
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1][labels].astype(np.int64)


def near_pairs(prints: Sequence[Fingerprint]) -> Iterator[np.ndarray]:
    """Some at a time, index pairs (M, 2), first < second, of images that look the same.

    Constant images look like nothing. Every hash is compared with every other, in blocks: 22,000 images are 242 million
    comparisons, seconds. Memory is bounded however many look alike: frames of a fixed camera give a pair for almost
    any two.
    """
    useful = np.array([index for index, item in enumerate(prints) if not item.constant], dtype=np.int64)
    if len(useful) < 2:
        return
    thumbs = np.stack([prints[index].thumb for index in useful]).reshape(len(useful), -1).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.maximum(np.linalg.norm(thumbs, axis=1, keepdims=True), 1e-6)
    hashes = np.array([prints[index].phash for index in useful], dtype=np.uint64)
    for start in range(0, len(useful), _BLOCK):
        block = hashes[start : start + _BLOCK]
        differing = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        first, second = np.nonzero(differing <= NEAR_BITS)
        ahead = second > first
        pairs = np.stack([first[ahead], second[ahead]], axis=1) + start
        for begin in range(0, len(pairs), _CONFIRMED):
            some = pairs[begin : begin + _CONFIRMED]
            correlation = np.einsum("ij,ij->i", thumbs[some[:, 0]], thumbs[some[:, 1]])
            yield useful[some[correlation >= NEAR_CORRELATION]]
