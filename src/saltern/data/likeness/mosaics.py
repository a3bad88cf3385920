"""Tiles put together on grids along the seams between them, and the picture of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from saltern.data.likeness.adjacency import Link, Seams, find_seams
from saltern.data.likeness.fingerprints import Fingerprint

_FRAME = 6
_BACKGROUND = np.array([38, 70, 83], np.uint8)


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
    limit: float = 0.0
    """Links of larger doubt were not taken."""
    chance: int = 0
    """Links within the limit among decoys: at most about as many of `links` are false."""

    def largest(self, most: int) -> list[np.ndarray]:
        """The tiles (indices) of the `most` largest mosaics of two tiles or more, the largest first."""
        sizes = np.bincount(self.labels)
        order = np.argsort(-sizes, kind="stable")[:most]
        return [np.flatnonzero(self.labels == label) for label in order if sizes[label] > 1]

    def sizes(self) -> dict[int, int]:
        """Number of tiles in a mosaic → how many mosaics have it; tiles alone are size 1."""
        values, counts = np.unique(np.bincount(self.labels), return_counts=True)
        return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def find_mosaics(prints: Sequence[Fingerprint]) -> Mosaics:
    """Link the tiles whose borders clearly continue each other (`Seams.clear`), and place them on grids."""
    return mosaics_of(find_seams(prints))


def mosaics_of(seams: Seams) -> Mosaics:
    """Place the tiles on grids along the clear links; one that would put two tiles in one place is refused."""
    links, chance = seams.clear()
    joined = place(seams.count, links)
    return replace(joined, limit=links[-1].doubt, chance=chance) if links else joined


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
