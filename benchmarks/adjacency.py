"""How well `folds=adjacency` finds neighbours, where the truth is known, and how fast it is.

    python benchmarks/adjacency.py

Large seismic sections are drawn, cut into tiles of 101 x 101, each tile gets a contrast of its own, a share of them
is lost, the rest is shuffled. Then 22,000 tiles of drawn noise, the size of the whole TGS set, are compared.
"""

import time

import numpy as np

from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import find_mosaics
from saltern.data.likeness.fingerprints import Fingerprint

SIDE, GRID, SECTIONS = 101, 6, 30
Where = tuple[int, int, int]
"""Section, row, column."""


def cut(kept: float, random: np.random.Generator) -> tuple[list[np.ndarray], list[Where]]:
    """Shuffled tiles and where they come from."""
    pairs = []
    for section in range(SECTIONS):
        large = draw_section(np.random.default_rng(section), GRID * SIDE).image.astype(float)
        for row, column in np.ndindex(GRID, GRID):
            tile = large[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            tile = (tile - 128) * random.uniform(0.7, 1.3) + 128 + random.uniform(-20, 20)
            if random.random() < kept:
                pairs.append((np.clip(tile, 0, 255).astype(np.uint8), (section, row, column)))
    order = random.permutation(len(pairs))
    return [pairs[index][0] for index in order], [pairs[index][1] for index in order]


def true_links(places: list[Where]) -> set[tuple[int, int, str]]:
    """Every pair of tiles that were neighbours."""
    at = {place: index for index, place in enumerate(places)}
    links = {(i, at[s, r, c + 1], "right") for (s, r, c), i in at.items() if (s, r, c + 1) in at}
    return links | {(i, at[s, r + 1, c], "below") for (s, r, c), i in at.items() if (s, r + 1, c) in at}


def main() -> None:
    """Print precision and recall for several shares of tiles, then the time for 22,000 tiles."""
    random = np.random.default_rng(0)
    print("kept  tiles  seams  found  precision  recall  false  false by chance  largest")
    for kept in (1.0, 0.5, 0.25, 0.1):
        tiles, places = cut(kept, random)
        truth, mosaics = true_links(places), find_mosaics([Fingerprint.of(tile) for tile in tiles])
        found = {(link.first, link.second, link.direction) for link in mosaics.links}
        good, wrong = len(found & truth), len(found - truth)
        precision, recall = good / max(len(found), 1), good / max(len(truth), 1)
        print(f"{kept:4.0%}  {len(tiles):5}  {len(truth):5}  {len(found):5}  {precision:9.3f}  {recall:6.3f}"
              f"  {wrong:5}  {mosaics.chance:15}  {max(mosaics.sizes()):7}")  # fmt: skip
    prints = [Fingerprint.of(random.integers(0, 256, (SIDE, SIDE), np.uint8)) for _ in range(22_000)]
    began = time.monotonic()
    find_mosaics(prints)
    print(f"22,000 tiles: {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
