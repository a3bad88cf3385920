"""Which images an epoch shows, and in which order."""

from collections.abc import Iterable

import numpy as np

from saltern.errors import DataError


def drawn_order(
    rows: np.ndarray, empty: np.ndarray, share: float, table: int, random: np.random.Generator
) -> np.ndarray:
    """The showings of an epoch, int64 (N,): as many as there are `rows`, in random order.

    `round(share * N)` of them are of empty images, the others of images with foreground. Each kind is shown in whole
    rounds of all its images and a random part of them: none is seen twice before all were seen once.

    A showing is `row + turn * table`, where `turn` counts from 0 how often the epoch has shown the row before, so
    that each can have an augmentation of its own; `showing % table` is the row.

    Args:
        rows: int64 (N,), different positions in a table of images.
        empty: bool (N,), which of them have no foreground.
        share: of empty images, in [0, 1].
        table: the number of images in the table.
        random: decides the order.

    Raises:
        DataError: a share of images that are not there.
    """
    require_kinds(empty, [share], "the epoch's order")
    empties = round(share * len(rows))
    kinds = (rows[empty], empties), (rows[~empty], len(rows) - empties)
    return random.permutation(np.concatenate([_rounds(*kind, table, random) for kind in kinds]))


def _rounds(rows: np.ndarray, wanted: int, table: int, random: np.random.Generator) -> np.ndarray:
    """`wanted` showings of `rows`: whole rounds, then a random part."""
    turns, rest = divmod(wanted, max(len(rows), 1))
    whole = [rows + turn * table for turn in range(turns)]
    return np.concatenate([*whole, random.permutation(rows)[:rest] + turns * table])


def require_kinds(empty: np.ndarray, shares: Iterable[float], where: str) -> None:
    """Refuse shares of empty images that a training set cannot give.

    Args:
        empty: bool (N,), which of the training images have no foreground.
        shares: of empty images, in [0, 1].
        where: what asks for them, for the message.

    Raises:
        DataError: a share above 0 where no image is empty, or below 1 where all are.
    """
    found = int(empty.sum())
    for share in shares:
        if (share > 0 and found == 0) or (share < 1 and found == len(empty)):
            raise DataError(
                f"{where}: a share of {share:g} empty images needs images "
                f"{'without' if found == 0 else 'with'} foreground; of the {len(empty)} to train on, {found} are "
                "empty. Set sampling=null there, or divide the images with folds=stratified."
            )
