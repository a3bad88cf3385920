"""How long near-duplicates take among frames of a fixed camera, where nearly all look alike, and among strangers.

    python benchmarks/duplicates.py [images ...]

Frames are drawn: one scene, the noise of a camera, and something small that moves. `listed` compares the thumbnails of
every pair whose hashes are near and joins the pairs that look the same, the plain way; `joined` is
`saltern.data.likeness.duplicates.near_clusters`. Both sides in turn, on the same fingerprints; they must agree.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from saltern.data.likeness.duplicates import NEAR_BITS, NEAR_CORRELATION, joined, near_clusters
from saltern.data.likeness.fingerprints import Fingerprint

SIDE, BLOCK = 64, 256
LISTED_MOST = 8_000
"""Images above which the plain way takes minutes and is left out."""


def scene(seed: int) -> np.ndarray:
    """Smooth grey noise, float (SIDE, SIDE)."""
    smooth = gaussian_filter(np.random.default_rng(seed).standard_normal((SIDE, SIDE)), 2)
    return 128 + 40 * smooth / smooth.std()


def frame(number: int, background: np.ndarray) -> np.ndarray:
    """One frame of the camera: noise, and a bright square on its way."""
    random = np.random.default_rng([1, number])
    picture = background + random.normal(0, 3, background.shape)
    top, left = (number * 3) % (SIDE - 6), (number * 7) % (SIDE - 6)
    picture[top : top + 6, left : left + 6] += 40
    return np.clip(picture, 0, 255).astype(np.uint8)


def listed(prints: Sequence[Fingerprint]) -> np.ndarray:
    """The clusters by way of all pairs."""
    thumbs = np.stack([item.thumb for item in prints]).reshape(len(prints), -1).astype(np.float32)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.linalg.norm(thumbs, axis=1, keepdims=True)
    hashes = np.array([item.phash for item in prints], np.uint64)
    labels = np.arange(len(prints))
    for start in range(0, len(prints), BLOCK):
        near = np.bitwise_count(hashes[start : start + BLOCK, None] ^ hashes[None, start:]) <= NEAR_BITS
        first, second = np.nonzero(np.triu(near, 1))
        for begin in range(0, len(first), 16_384):
            pairs = np.stack([first[begin : begin + 16_384], second[begin : begin + 16_384]], axis=1) + start
            same = np.einsum("ij,ij->i", thumbs[pairs[:, 0]], thumbs[pairs[:, 1]]) >= NEAR_CORRELATION
            labels = joined(labels, labels[pairs[same]])
    return labels


def timed(cluster: Callable[[Sequence[Fingerprint]], np.ndarray], prints: Sequence[Fingerprint]) -> tuple[float, int]:
    """(seconds, clusters)."""
    began = time.monotonic()
    labels = cluster(prints)
    return time.monotonic() - began, len(np.unique(labels))


def main() -> None:
    """Print the seconds of both ways, and by which power of the number of images the new one grows."""
    background = scene(0)
    for name, draw in (
        ("frames of a fixed camera", lambda number: frame(number, background)),
        ("strangers", lambda number: np.clip(scene(number), 0, 255).astype(np.uint8)),
    ):
        print(f"{name}\nimages   listed   joined  clusters  exponent")
        last: tuple[int, float] | None = None
        for count in [int(text) for text in sys.argv[1:]] or [2_000, 4_000, 8_000, 16_000]:
            prints = [Fingerprint.of(draw(number)) for number in range(count)]
            plain = timed(listed, prints) if count <= LISTED_MOST else None
            seconds, clusters = timed(near_clusters, prints)
            assert plain is None or plain[1] == clusters, "the two ways disagree"
            power = f"{np.log(seconds / last[1]) / np.log(count / last[0]):8.2f}" if last else " " * 8
            print(f"{count:6}  {f'{plain[0]:7.1f}' if plain else '      -'}  {seconds:7.2f}  {clusters:8}  {power}")
            last = count, seconds


if __name__ == "__main__":
    main()
