"""Scores of a data set that is seen batch by batch, on one rank or many."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from saltern.metrics.scores import Counts, from_totals, totals


def alone(sums: Tensor) -> Tensor:
    """The sum over ranks where there is one rank."""
    return sums


class StreamingCounts:
    """Collects count rows on whatever device they come from; nothing waits for that device before the end.

    Every rank must see its own images once, without padded copies; ranks may hold different numbers of images, or none.
    """

    def __init__(self) -> None:
        self._rows: list[Tensor] = []

    def update(self, counts: Tensor) -> None:
        """Add the rows of a batch, int64 (B, 3) as from `count_batch`."""
        assert counts.shape[1:] == (3,), f"counts of shape {tuple(counts.shape)}, expected (B, 3)"
        self._rows.append(counts.detach())

    def merge(self, other: "StreamingCounts") -> None:
        """Add all rows of `other`."""
        self._rows.extend(other._rows)

    def counts(self) -> Counts:
        """The rows of this rank in the order of their arrival, int64 (N, 3)."""
        return torch.cat(self._rows).cpu().numpy() if self._rows else np.empty((0, 3), np.int64)

    def summarise(self, reduce: Callable[[Tensor], Tensor] = alone) -> dict[str, float]:
        """The scores of all ranks' images together; a collective call wherever `reduce` is one.

        Args:
            reduce: gives the sum over ranks of a float64 vector of 7 sums (on the CPU, to be moved where needed).
        """
        sums = reduce(torch.from_numpy(totals(self.counts())))
        return from_totals(sums.double().cpu().numpy())
