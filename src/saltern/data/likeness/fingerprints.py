"""What is kept of an image to find its duplicates and its neighbours: a few hundred bytes, from one reading."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np

from saltern.progress import Progress

Item = TypeVar("Item")
Found = TypeVar("Found")

SIDES = ("left", "right", "top", "bottom")
BEYOND = (1.7, -0.9, 0.2)
"""Weights of the outermost line, the next and the third that foretell the seam; they sum to 1."""
EDGE_LINES = len(BEYOND)
"""Lines of pixels kept along each border."""
INNER_SEAMS = 16
"""Seams inside an image, each way, at which it is measured how well its lines foretell it."""
_AROUND = np.arange(1 - EDGE_LINES, EDGE_LINES + 1)
_FORETELLING = np.array([[*BEYOND[::-1], 0, 0, 0], [0, 0, 0, *BEYOND]], np.float32)
"""From the six rows around a seam: what those above it and what those below it foretell."""
THUMB = 32
"""Side of the thumbnail by which near-duplicates are confirmed, pixels."""


@dataclass(frozen=True)
class Fingerprint:
    """One image, condensed."""

    size: tuple[int, int]
    """(height, width), pixels."""
    digest: bytes
    """Hash of size and pixels: equal for images of equal content, whatever file holds them."""
    phash: int
    """64 bits of perceptual hash: the signs of the 8 x 8 lowest cosine frequencies about their median."""
    thumb: np.ndarray
    """uint8 (THUMB, THUMB), grey."""
    edges: dict[str, np.ndarray]
    """Side → uint8 (EDGE_LINES, length), grey; line 0 is the outermost."""
    misses: dict[str, float]
    """`right` and `below` → median distance (1 - correlation, 0 to 2) of the two foretellings of seams inside the
    image that run down, or across; no number where it is too small."""
    lowest: int
    """Darkest grey value, 0 to 255."""
    highest: int
    """Brightest grey value, 0 to 255."""

    @property
    def constant(self) -> bool:
        """All pixels have one value."""
        return self.lowest == self.highest

    @classmethod
    def of(cls, image: np.ndarray) -> "Fingerprint":
        """The fingerprint of an image, uint8 (H, W) or (H, W, 3) in RGB."""
        exact = without_colour(image)  # grey stored as RGB is the same image
        grey = grey_of(exact)
        digest = hashlib.blake2b(repr(image.shape[:2]).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(exact).data)
        lines = min(EDGE_LINES, *grey.shape)
        edges = {
            "left": grey[:, :lines].T.copy(),
            "right": grey[:, : -lines - 1 : -1].T.copy(),
            "top": grey[:lines].copy(),
            "bottom": grey[: -lines - 1 : -1].copy(),
        }
        thumb = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        lowest, highest = int(grey.min()), int(grey.max())
        misses = {"right": _miss(grey.T), "below": _miss(grey)}
        return cls(image.shape[:2], digest.digest(), _phash(grey), thumb, edges, misses, lowest, highest)


def without_colour(image: np.ndarray) -> np.ndarray:
    """The one channel (H, W) of an image (H, W, 3) whose three are equal; any other image as it is."""
    if image.ndim == 2:
        return image
    first, second, third = cv2.split(image)
    return first if np.array_equal(first, second) and np.array_equal(first, third) else image


def grey_of(image: np.ndarray) -> np.ndarray:
    """uint8 (H, W) of an image (H, W), or (H, W, 3) in RGB."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _miss(grey: np.ndarray) -> float:
    """Median distance of what the rows above and the rows below a seam foretell of it, over seams spread evenly."""
    inner = len(grey) - 2 * EDGE_LINES + 1
    if inner < 1:
        return float("nan")
    count = min(INNER_SEAMS, inner)
    above = EDGE_LINES - 1 + np.arange(count) * (inner - 1) // max(count - 1, 1)
    foretold = _FORETELLING @ grey[above[:, None] + _AROUND].astype(np.float32)  # (seams, 2, length)
    foretold -= foretold.mean(axis=2, keepdims=True)
    one, other = foretold[:, 0], foretold[:, 1]
    norms = np.einsum("sl,sl->s", one, one) * np.einsum("sl,sl->s", other, other)
    distance = np.sort(1 - np.einsum("sl,sl->s", one, other) / np.maximum(np.sqrt(norms), 1e-6))
    return float(distance[count // 2] + distance[(count - 1) // 2]) / 2


def _phash(grey: np.ndarray) -> int:
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.sort(low[1:])[31]  # the median of 63; numpy's own takes ten times as long
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def read_all(
    items: Sequence[Item], read: Callable[[Item], Found], progress: Progress | None = None, label: str = "read images"
) -> list[Found]:
    """`read` of every item, in order, in one thread a core; only a few results wait at a time."""
    threads = os.cpu_count() or 1
    results: list[Found] = []
    inner = cv2.getNumThreads()
    cv2.setNumThreads(1)  # OpenCV's own threads would only get in the way of these
    try:
        with ThreadPoolExecutor(threads) as pool, (progress or Progress()).track(label, len(items)) as line:
            for result in _windowed(pool, read, iter(items), 4 * threads):
                results.append(result)
                line.advance(1)
    finally:
        cv2.setNumThreads(inner)
    return results


def _windowed(
    pool: ThreadPoolExecutor, read: Callable[[Item], Found], items: Iterator[Item], width: int
) -> Iterator[Found]:
    waiting = [pool.submit(read, item) for item in islice(items, width)]
    while waiting:
        done = waiting.pop(0)
        for item in islice(items, 1):
            waiting.append(pool.submit(read, item))
        yield done.result()
