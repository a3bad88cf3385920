"""Images by their share of foreground: bins for figures, and a choice of examples that does not show one kind only."""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EDGES = (0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0)
"""Of the bins; an empty truth is a bin of its own before the first."""

NAMES = ("empty", *(f"{100 * low:g}-{100 * high:g}" for low, high in pairwise(EDGES)))
"""Of the bins, in percent."""


def coverage_bins(coverage: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each image, an index into `NAMES`; upper edges belong to their bin."""
    return np.where(coverage == 0, 0, np.digitize(coverage, EDGES[1:-1], right=True) + 1)


def extreme(table: pd.DataFrame, column: str, then: str, *, ascending: bool, count: int) -> pd.DataFrame:
    """The `count` rows at one end of `column`; among equals the bins of coverage take turns.

    Without turns the best of a thousand perfect images would be a dozen full masks, and the worst a dozen of the
    same mistake.

    Args:
        table: with the columns id, coverage, `column` and `then`.
        column: by which rows are chosen.
        then: orders the rows that are equal in `column` and bin, in the same direction; after it the id decides.
        ascending: whether the lowest are wanted.
        count: of rows, where there are so many.
    """
    ordered = table.sort_values([then, "id"], ascending=[ascending, True])
    bins = coverage_bins(ordered["coverage"].to_numpy(dtype=np.float64))
    turns = ordered.assign(bin=bins).groupby([column, "bin"]).cumcount()
    ordered = ordered.assign(bin=bins, turn=turns).sort_values(
        [column, "turn", "bin"], ascending=[ascending, True, True]
    )
    return ordered.head(count).drop(columns=["bin", "turn"])
