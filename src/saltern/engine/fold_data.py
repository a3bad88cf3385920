"""What the training of a fold reads and writes to, and how its batches make optimizer steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from saltern.engine.meter import TrainBatch


class EpochLog(Protocol):
    """Where the scores of an epoch go."""

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Record a finished epoch, counted from 1; recording it again replaces it."""


@dataclass(frozen=True)
class FoldData:
    """What a fold's training reads."""

    batches: Callable[[int, float | None], Iterable[TrainBatch]]
    """Epoch, share of empty images (None: every image once) → its batches on this process, the same whenever they are
    asked for."""
    sizes: list[int]
    """Images of each batch of an epoch, the same on every process."""
    validate: Callable[[nn.Module], dict[str, float]]
    """Network → validation scores, the same on every process; none where no image is held out."""


@dataclass(frozen=True)
class Micro:
    """One batch's place among the `accumulate` batches of an optimizer step."""

    index: int
    sizes: list[int]
    """Images of every batch of the epoch."""
    accumulate: int

    @property
    def updates(self) -> bool:
        """Whether the optimizer steps after this batch; the epoch's last batch always does."""
        return (self.index + 1) % self.accumulate == 0 or self.index + 1 == len(self.sizes)

    @property
    def first(self) -> int:
        """Index of the first of the batches that share this batch's optimizer step."""
        return self.index - self.index % self.accumulate

    @property
    def share(self) -> float:
        """This batch's share of the images of its optimizer step."""
        return self.sizes[self.index] / sum(self.sizes[self.first : self.first + self.accumulate])
