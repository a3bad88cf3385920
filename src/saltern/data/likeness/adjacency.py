"""Find tiles that were cut from one large picture: borders that continue each other, joined into mosaics.

A border is condensed to the grey values expected half a pixel beyond it (a parabola through its three outermost lines),
without their mean and scaled to length 1, so that a contrast set for each tile by itself does not matter. Two borders
may be linked when each is the other's best match among all tiles, and by far: the ratio of the distance 1 - correlation
to that of the second best match of either is small (the ratio test of Lowe, 2004, on borders).

How small is read off the data themselves: the same search is run against borders read backwards, which have the same
texture and continue nothing, so whatever it links is chance. The limit is the largest ratio at which chance makes up at
most `MAX_FALSE` of the links (as decoys are used to bound false discoveries in proteomics: Elias and Gygi, 2007).
Links then join tiles from the clearest on; one that would put two tiles in one place, or a tile in two, is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from saltern.data.likeness.fingerprints import Fingerprint

BEYOND = (1.7, -0.9, 0.2)
"""Weights of the outermost line, the next and the third that foretell the seam; they sum to 1."""
MAX_RATIO = 0.6
"""A link's distance is at most this share of that to the second best match, whatever the data say."""
MAX_FALSE = 0.02
"""Share of links that may be chance."""
MIN_CORRELATION = 0.7
"""Borders that correlate less are never linked."""
MIN_SPREAD = 1.5
"""Borders whose foretold values have a smaller standard deviation, in grey levels, say nothing."""
FLOOR = 1e-3
"""Added to both distances of the ratio: rounding to 8 bits leaves nothing closer to tell apart."""
_BLOCK = 1024
_FRAME = 6
_BACKGROUND = np.array([38, 70, 83], np.uint8)


@dataclass(frozen=True)
class Link:
    """Tile `second` lies right of (or below) tile `first`; both are indices."""

    first: int
    second: int
    direction: str
    """`right` or `below`."""
    correlation: float
    ratio: float
    """Distance over that of the second best match; small is clear."""


@dataclass(frozen=True)
class Mosaics:
    """What was found among N tiles."""

    links: list[Link]
    """The links that were kept, the clearest first."""
    refused: list[Link]
    """Links that contradict clearer ones in place."""
    labels: np.ndarray
    """(N,) int: tiles of one mosaic share a label; a tile alone has its own. Labels are 0, 1, … without gaps."""
    places: np.ndarray
    """(N, 2) int: row and column of each tile within its mosaic, from 0."""
    limit: float = MAX_RATIO
    """Links of a larger ratio were not taken."""
    chance: int = 0
    """Links within the limit among borders read backwards: about as many of `links` are false."""

    def largest(self, most: int) -> list[np.ndarray]:
        """The tiles (indices) of the `most` largest mosaics of two tiles or more, the largest first."""
        sizes = np.bincount(self.labels)
        order = np.argsort(-sizes, kind="stable")[:most]
        return [np.flatnonzero(self.labels == label) for label in order if sizes[label] > 1]

    def sizes(self) -> dict[int, int]:
        """Number of tiles in a mosaic → how many mosaics have it; tiles alone are size 1."""
        values, counts = np.unique(np.bincount(self.labels), return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def find_mosaics(prints: Sequence[Fingerprint], max_false: float = MAX_FALSE) -> Mosaics:
    """Link the tiles whose borders continue each other, and place them on grids.

    All pairs are compared as matrix products in blocks. Of tiles with equal pixels only the first is linked, since
    twins hide each other from the ratio test. Borders are compared where their lengths are equal.
    """
    candidates: list[Link] = []
    decoys: list[float] = []
    for direction, sides in (("right", ("right", "left")), ("below", ("bottom", "top"))):
        for tiles in _comparable(prints, sides[0]):
            first = _borders([prints[index].edges[sides[0]] for index in tiles])
            second = _borders([prints[index].edges[sides[1]] for index in tiles])
            for one, other, correlation, ratio in _mutual(first, second):
                candidates.append(Link(tiles[one], tiles[other], direction, correlation, ratio))
            decoys += [ratio for *_, ratio in _mutual(first, (second[0][:, ::-1], second[1]))]
    candidates.sort(key=lambda link: (link.ratio, link.first, link.second))
    ratios = np.array([link.ratio for link in candidates])
    by_chance = np.searchsorted(np.sort(decoys), ratios, side="right")
    good = np.flatnonzero(by_chance <= max_false * np.arange(1, len(ratios) + 1))
    taken = int(good[-1]) + 1 if len(good) else 0
    joined = place(len(prints), candidates[:taken])
    if not taken:
        return replace(joined, limit=0.0)
    return replace(joined, limit=float(ratios[taken - 1]), chance=int(by_chance[taken - 1]))


def _comparable(prints: Sequence[Fingerprint], side: str) -> Iterator[list[int]]:
    """Tiles (indices) whose border at `side` has the same length, without twins."""
    by_length: dict[int, list[int]] = {}
    seen: set[bytes] = set()
    for index, item in enumerate(prints):
        if item.digest not in seen and len(item.edges[side]) == len(BEYOND):
            seen.add(item.digest)
            by_length.setdefault(item.edges[side].shape[1], []).append(index)
    yield from by_length.values()


def _borders(edges: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Foretold seams, float32 (N, length), of mean 0 and length 1; and which of them tell anything, bool (N,)."""
    lines = np.stack(edges).astype(np.float32)
    seams = np.tensordot(lines, np.array(BEYOND, np.float32), axes=(1, 0))
    seams -= seams.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(seams, axis=1, keepdims=True)
    tells = norms[:, 0] >= MIN_SPREAD * np.sqrt(seams.shape[1])
    return seams / np.maximum(norms, 1e-6), tells


def _mutual(
    first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> Iterator[tuple[int, int, float, float]]:
    """(tile, other tile, correlation, ratio) of the borders `first` that are matched by one of `second`."""
    ahead, best, next_ahead = _best_two(first[0], *second)
    back, _, next_back = _best_two(second[0], *first)
    good = first[1] & (best >= MIN_CORRELATION) & (back[ahead] == np.arange(len(ahead)))
    ratio = (1 - best + FLOOR) / (1 - np.maximum(next_ahead, next_back[ahead]) + FLOOR)
    for one in np.flatnonzero(good & (ratio <= MAX_RATIO)):
        yield int(one), int(ahead[one]), float(best[one]), float(ratio[one])


def _best_two(queries: np.ndarray, keys: np.ndarray, tells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every query (N, D) the best key's index, its correlation, and that of the second best; never its own tile.

    Without a key that tells anything the correlations are -1; without a second one it is 0, as of strangers.
    """
    count = len(queries)
    index, best, second = np.zeros(count, np.int64), np.empty(count, np.float32), np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        block = queries[start : start + _BLOCK] @ keys.T
        rows = np.arange(len(block))
        block[:, ~tells] = -1
        block[rows, rows + start] = -1
        chosen = block.argmax(axis=1)
        part = slice(start, start + len(block))
        index[part], best[part] = chosen, block[rows, chosen]
        block[rows, chosen] = -1
        second[part] = block.max(axis=1)
    return index, best, np.maximum(second, 0)


def place(count: int, links: Sequence[Link]) -> Mosaics:
    """Join `count` tiles along `links`, in their order, on grids; refuse a link that does not fit what is joined."""
    label = np.arange(count)
    places = np.zeros((count, 2), np.int64)
    members: dict[int, list[int]] = {tile: [tile] for tile in range(count)}
    cells: dict[int, set[tuple[int, int]]] = {tile: {(0, 0)} for tile in range(count)}
    kept: list[Link] = []
    refused: list[Link] = []
    for link in links:
        step = (0, 1) if link.direction == "right" else (1, 0)
        shift = places[link.first] + step - places[link.second]
        here, there = int(label[link.first]), int(label[link.second])
        if here == there:
            (refused if shift.any() else kept).append(link)
            continue
        if len(members[there]) > len(members[here]):
            here, there, shift = there, here, -shift
        moved = {(row + int(shift[0]), column + int(shift[1])) for row, column in cells[there]}
        if moved & cells[here]:
            refused.append(link)
            continue
        joining = members.pop(there)
        places[joining] += shift
        label[joining] = here
        members[here] += joining
        cells[here] |= moved
        del cells[there]
        kept.append(link)
    for tiles in members.values():
        places[tiles] -= places[tiles].min(axis=0)
    return Mosaics(kept, refused, np.unique(label, return_inverse=True)[1], places)


def mosaic_picture(
    mosaics: Mosaics, read: Callable[[int], np.ndarray], most: int = 12, width: int = 1800
) -> np.ndarray | None:
    """The largest mosaics, assembled: uint8 (H, W, 3), about `width` pixels wide; None where no tile has a neighbour.

    Args:
        mosaics: as found.
        read: gives the image of a tile (index), uint8 (H, W, 3); all of one size within a mosaic.
        most: number of mosaics shown, the largest first.
        width: mosaics are set side by side up to this width; one that is wider makes the picture wider.
    """
    pictures = [_assemble(tiles, mosaics.places, read) for tiles in mosaics.largest(most)]
    if not pictures:
        return None
    shelves: list[list[np.ndarray]] = [[]]
    for picture in pictures:
        if shelves[-1] and sum(item.shape[1] for item in shelves[-1]) + picture.shape[1] > width:
            shelves.append([])
        shelves[-1].append(picture)
    rows = [
        np.concatenate([_filled(item, max(map(len, shelf)), item.shape[1]) for item in shelf], 1) for shelf in shelves
    ]
    widest = max(row.shape[1] for row in rows)
    return np.concatenate([_filled(row, len(row), widest) for row in rows])


def _assemble(tiles: np.ndarray, places: np.ndarray, read: Callable[[int], np.ndarray]) -> np.ndarray:
    images = {int(tile): read(int(tile)) for tile in tiles}
    height, width = np.max([image.shape[:2] for image in images.values()], axis=0)
    rows, columns = places[tiles].max(axis=0) + 1
    canvas = np.full((rows * height + 2 * _FRAME, columns * width + 2 * _FRAME, 3), _BACKGROUND, np.uint8)
    for tile, image in images.items():
        top, left = places[tile] * (height, width) + _FRAME
        canvas[top : top + len(image), left : left + image.shape[1]] = image
    return canvas


def _filled(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    canvas[: len(picture), : picture.shape[1]] = picture
    return canvas
