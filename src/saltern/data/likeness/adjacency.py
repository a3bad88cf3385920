"""Find tiles that were cut from one large picture: borders that continue each other.

A border is condensed to the grey values expected half a pixel beyond it (a parabola through its three outermost lines),
without their mean and scaled to length 1, so that a contrast set for each tile by itself does not matter. Two borders
may be linked when each is the other's best match among all tiles, and by far: the ratio of the distance 1 - correlation
to that of the second best match of either is small (the ratio test of Lowe, 2004, on borders).

A tile that is rough, or noisy, foretells its neighbour badly, and also itself: the same distance is measured at seams
inside each tile (`Fingerprint.misses`). The doubt in a link is its ratio, times how much farther apart its borders are
than seams inside its two tiles (to the power `BY_MISSES`).

How much doubt is too much is read off the data: the same search is run where nothing continues, and what it links is
chance. There are two such decoys: borders read backwards, and borders of the same side (right against right), which
keep the order in which sections change along a border; the one that links more is believed. The limit is the largest
doubt at which chance makes up at most `MAX_FALSE` of the links (as decoys bound false discoveries in proteomics: Elias
and Gygi, 2007).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from saltern.data.likeness.fingerprints import BEYOND, Fingerprint
from saltern.progress import Progress

MAX_DOUBT = 0.6
"""Links of more doubt are never clear, whatever the data say."""
MAX_FALSE = 0.05
"""Share of the clear links that may be chance, by the decoy that links more, which tells about twice too many."""
BY_MISSES = 0.25
"""Power of the distance, in multiples of that inside the tiles, by which the ratio is weighted."""
MANY_LINKS = 0.01
"""Clear links per tile from which a data set counts as cut from larger pictures."""
LENIENCE = 1.25
"""Loose links are those of a ratio up to a limit, and of a doubt up to this many times that: doubt tells more."""
MIN_CORRELATION = 0.3
"""Borders that correlate less are never linked."""
MIN_SPREAD = 1.5
"""Borders whose foretold values have a smaller standard deviation, in grey levels, say nothing."""
FLOOR = 1e-3
"""Added to every distance: rounding to 8 bits leaves nothing closer to tell apart."""
_BLOCK = 1024
_SIDES = {"right": ("right", "left"), "below": ("bottom", "top")}
Border = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of N tiles: foretold seams (N, length), whether they tell anything (N,), and the distance inside the tile (N,)."""


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
    doubt: float
    """The ratio weighted by the distance inside the tiles; what links are sorted by."""


@dataclass(frozen=True)
class Seams:
    """What the borders of `count` tiles say: links, and what the same search finds where nothing continues."""

    count: int
    links: list[Link]
    """Best matches of both borders, the clearest first."""
    backwards: list[Link]
    """The same for borders read backwards, unsorted."""
    same_side: list[Link]
    """The same for two borders of one side, unsorted."""

    def chance(self, doubts: np.ndarray) -> np.ndarray:
        """Links that chance makes with at most these doubts, (N,), by the decoy that makes more of them."""
        decoys = [np.sort([link.doubt for link in links]) for links in (self.backwards, self.same_side)]
        return np.max([np.searchsorted(doubt, doubts, side="right") for doubt in decoys], axis=0)

    def clear(self, max_false: float = MAX_FALSE) -> tuple[list[Link], int]:
        """The links of which at most the share `max_false` is chance, and how many that may be."""
        doubts = np.array([link.doubt for link in self.links if link.doubt <= MAX_DOUBT])
        by_chance = self.chance(doubts)
        good = np.flatnonzero(by_chance <= max_false * np.arange(1, len(doubts) + 1))
        taken = int(good[-1]) + 1 if len(good) else 0
        return self.links[:taken], int(by_chance[taken - 1]) if taken else 0

    @property
    def many(self) -> bool:
        """There are so many clear links that the images look like tiles of larger pictures."""
        return len(self.clear()[0]) >= MANY_LINKS * max(self.count, 1)

    def loose(self, max_ratio: float) -> tuple[list[Link], int]:
        """The clear links and those within `max_ratio` (`LENIENCE`), clearest first, and how many may be chance.

        For uses where a false link costs little and a missed one much.
        """

        def within(links: list[Link]) -> list[Link]:
            return [link for link in links if link.ratio <= max_ratio or link.doubt <= LENIENCE * max_ratio]

        clear = self.clear()[0]
        by_chance = max(len(within(decoy)) for decoy in (self.backwards, self.same_side))
        return clear + within(self.links[len(clear) :]), by_chance


def find_seams(prints: Sequence[Fingerprint], progress: Progress | None = None) -> Seams:
    """Compare the borders of all tiles; `progress` is told of every tile, twice for each direction.

    All pairs are compared as matrix products in blocks. Of tiles with equal pixels only the first is linked, since
    twins hide each other from the ratio test. Borders are compared where their lengths are equal.
    """
    links: list[Link] = []
    backwards: list[Link] = []
    same_side: list[Link] = []
    work = [(direction, sides, tiles) for direction, sides in _SIDES.items() for tiles in _comparable(prints, sides[0])]
    with (progress or Progress()).track("compare borders", sum(2 * len(tiles) for _, _, tiles in work)) as line:
        for direction, sides, tiles in work:
            first, second = (_borders([prints[index] for index in tiles], side, direction) for side in sides)
            links += _mutual(first, second, tiles, direction)
            backwards += _mutual(first, (second[0][:, ::-1], *second[1:]), tiles, direction)
            line.advance(len(tiles))
            for side in (first, second):  # every pair of one side is found twice, from either end
                same_side += [link for link in _mutual(side, side, tiles, direction) if link.first < link.second]
            line.advance(len(tiles))
    links.sort(key=lambda link: (link.doubt, link.first, link.second))
    return Seams(len(prints), links, backwards, same_side)


def _comparable(prints: Sequence[Fingerprint], side: str) -> Iterator[list[int]]:
    """Tiles (indices) whose border at `side` has the same length, without twins."""
    by_length: dict[int, list[int]] = {}
    seen: set[bytes] = set()
    for index, item in enumerate(prints):
        if item.digest not in seen and len(item.edges[side]) == len(BEYOND):
            seen.add(item.digest)
            by_length.setdefault(item.edges[side].shape[1], []).append(index)
    yield from by_length.values()


def _borders(prints: list[Fingerprint], side: str, direction: str) -> Border:
    """The borders at `side`; foretold seams are float32 of mean 0 and length 1."""
    lines = np.stack([item.edges[side] for item in prints]).astype(np.float32)
    seams = np.tensordot(lines, np.array(BEYOND, np.float32), axes=(1, 0))
    seams -= seams.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(seams, axis=1, keepdims=True)
    tells = norms[:, 0] >= MIN_SPREAD * np.sqrt(seams.shape[1])
    return seams / np.maximum(norms, 1e-6), tells, np.array([item.misses[direction] for item in prints])


def _mutual(first: Border, second: Border, tiles: list[int], direction: str) -> Iterator[Link]:
    """Links of the borders `first` and `second` that are each other's best match."""
    ahead, best, next_ahead = _best_two(first[0], second)
    same = first is second
    back, _, next_back = (ahead, best, next_ahead) if same else _best_two(second[0], first)
    good = first[1] & (best >= MIN_CORRELATION) & (back[ahead] == np.arange(len(ahead)))
    distance = 1 - best + FLOOR
    ratio = distance / (1 - np.maximum(next_ahead, next_back[ahead]) + FLOOR)
    inside = np.sqrt((first[2] + FLOOR) * (second[2][ahead] + FLOOR))
    doubt = ratio * np.where(np.isfinite(inside), distance / inside, 1.0) ** BY_MISSES
    for one in np.flatnonzero(good):
        other, measured = tiles[ahead[one]], (float(part[one]) for part in (best, ratio, doubt))
        yield Link(tiles[one], other, direction, *measured)


def _best_two(queries: np.ndarray, keys: Border) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every query (N, D) the best key's index, its correlation, and that of the second best; never its own tile.

    Without a key that tells anything the correlations are -1; without a second one it is 0, as of strangers.
    """
    count = len(queries)
    index, best, second = np.zeros(count, np.int64), np.empty(count, np.float32), np.empty(count, np.float32)
    for start in range(0, count, _BLOCK):
        block = queries[start : start + _BLOCK] @ keys[0].T
        rows = np.arange(len(block))
        block[:, ~keys[1]] = -1
        block[rows, rows + start] = -1
        chosen = block.argmax(axis=1)
        part = slice(start, start + len(block))
        index[part], best[part] = chosen, block[rows, chosen]
        block[rows, chosen] = -1
        second[part] = block.max(axis=1)
    return index, best, np.maximum(second, 0)
