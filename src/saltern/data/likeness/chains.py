"""Tiles joined for folds, along loose links: a false link merely joins two tiles, a missed one leaks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from saltern.data.likeness.adjacency import Link, Seams


@dataclass(frozen=True)
class Chains:
    """What belongs together among N tiles, as far as their borders tell."""

    labels: np.ndarray
    """(N,) int: tiles of one chain share a label; labels are 0, 1, … without gaps."""
    links: list[Link]
    """The links that joined them or lie within a chain, the clearest first."""
    refused: int
    """Links left out, since they would have made a chain too large."""
    most: int
    """Labelled tiles that loose links may join."""
    chance: int
    """Links that may be chance, before any was left out."""


def chained(seams: Seams, max_ratio: float, counted: Sequence[bool] | np.ndarray, most: int) -> Chains:
    """Join the tiles along `seams.loose(max_ratio)`, the clearest first; where the links lie on a grid is not asked.

    Args:
        seams: the links between N tiles.
        max_ratio: the largest ratio of a link, 0 to 1; clear links are taken anyway.
        counted: bool (N,), the tiles that count for the size of a chain: the labelled ones.
        most: a link that is not clear is refused where it would join more counted tiles than this.
    """
    links, chance = seams.loose(max_ratio)
    clear = len(seams.clear()[0])
    root = np.arange(seams.count)
    weight = np.asarray(counted, dtype=np.int64).copy()

    def end(tile: int) -> int:
        while root[tile] != tile:
            root[tile] = root[root[tile]]
            tile = int(root[tile])
        return tile

    taken: list[Link] = []
    for number, link in enumerate(links):
        one, other = end(link.first), end(link.second)
        if one != other and number >= clear and weight[one] + weight[other] > most:
            continue
        taken.append(link)
        if one != other:
            root[other] = one
            weight[one] += weight[other]
    ends = [end(tile) for tile in range(seams.count)]
    labels = np.unique(ends, return_inverse=True)[1] if ends else np.zeros(0, np.int64)
    return Chains(labels, taken, len(links) - len(taken), most, chance)
