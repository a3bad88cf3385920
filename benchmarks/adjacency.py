"""How well `folds=adjacency` finds neighbours, where the truth is known, and how fast it is.

    python benchmarks/adjacency.py

Large seismic sections are drawn, cut into tiles of 101 x 101, each tile gets a contrast of its own, a share of them
is lost, the rest is shuffled. Hard tiles have noise besides, and their contrast is stretched until the darkest and
brightest pixels are clipped, as that of the real TGS tiles. Then 22,000 tiles of drawn noise, the size of the whole TGS
set, are compared.
"""

import time
from collections.abc import Sequence

import numpy as np

from saltern.config import FoldsConfig
from saltern.data.folds.division import CHAIN_SHARE
from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import Link, find_seams
from saltern.data.likeness.chains import chained
from saltern.data.likeness.fingerprints import Fingerprint
from saltern.data.likeness.mosaics import find_mosaics, mosaics_of

SIDE, GRID, SECTIONS, FEW = 101, 6, 90, 30
FOLDS = FoldsConfig(kind="adjacency")
Where = tuple[int, int, int]
"""Section, row, column."""
Seam = tuple[int, int, str]


def cut(
    sections: Sequence[np.ndarray], kept: float, noise: float | None, random: np.random.Generator
) -> tuple[list[np.ndarray], list[Where]]:
    """Shuffled tiles and where they come from; `noise`, in grey levels, makes hard ones."""
    pairs = []
    for section, large in enumerate(sections):
        for row, column in np.ndindex(GRID, GRID):
            tile = large[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE].astype(float)
            if noise is None:
                tile = (tile - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-20, 20)
            else:
                tile += random.normal(0, noise, tile.shape)
                low, high = np.percentile(tile, [random.uniform(0, 4), 100 - random.uniform(0, 4)])
                tile = (tile - low) / max(high - low, 8) * random.uniform(150, 255) + random.uniform(0, 40)
            if random.random() < kept:
                pairs.append((np.clip(tile, 0, 255).astype(np.uint8), (section, row, column)))
    order = random.permutation(len(pairs))
    return [pairs[index][0] for index in order], [pairs[index][1] for index in order]


def true_links(places: list[Where]) -> set[Seam]:
    """Every pair of tiles that were neighbours."""
    at = {place: index for index, place in enumerate(places)}
    links = {(i, at[s, r, c + 1], "right") for (s, r, c), i in at.items() if (s, r, c + 1) in at}
    return links | {(i, at[s, r + 1, c], "below") for (s, r, c), i in at.items() if (s, r + 1, c) in at}


def measured(links: Sequence[Link], truth: set[Seam]) -> str:
    """Number of links, precision, recall, false links."""
    found = {(link.first, link.second, link.direction) for link in links}
    good = len(found & truth)
    return f"{len(found):5}  {good / max(len(found), 1):9.3f}  {good / max(len(truth), 1):6.3f}  {len(found) - good:5}"


def main() -> None:
    """Print precision and recall for several shares of tiles, clear and loose, then the time for 22,000 tiles."""
    random = np.random.default_rng(0)
    sections = [draw_section(np.random.default_rng(number), GRID * SIDE).image for number in range(SECTIONS)]
    print("kept  noise  tiles  seams  links  found  precision  recall  false  by chance  largest  in other folds")
    hard = [(0.25, noise) for noise in (0.0, 1.5, 3.0)]
    for kept, noise in [(1.0, None), (0.5, None), (0.25, None), (0.1, None), *hard]:
        tiles, places = cut(sections[:FEW] if noise is None else sections, kept, noise, random)
        truth, seams = true_links(places), find_seams([Fingerprint.of(tile) for tile in tiles])
        mosaics = mosaics_of(seams)
        most = max(2, int(CHAIN_SHARE * len(tiles) / FOLDS.n))
        chains = chained(seams, FOLDS.max_ratio, np.ones(len(tiles), dtype=bool), most)
        name = f"{kept:4.0%}  {'easy' if noise is None else noise:>5}  {len(tiles):5}  {len(truth):5}"
        for kind, found, chance, labels in (
            ("clear", mosaics.links, mosaics.chance, mosaics.labels),
            ("loose", chains.links, chains.chance, chains.labels),
        ):
            apart = {tile for one, other, _ in truth if labels[one] != labels[other] for tile in (one, other)}
            largest = int(np.bincount(labels).max())
            print(f"{name}  {kind}  {measured(found, truth)}  {chance:9}  {largest:7}  {len(apart):14}")
    prints = [Fingerprint.of(random.integers(0, 256, (SIDE, SIDE), np.uint8)) for _ in range(22_000)]
    began = time.monotonic()
    find_mosaics(prints)
    print(f"22,000 tiles: {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
