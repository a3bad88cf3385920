"""The pixel counts of every validation image after every epoch, by which the best epoch was chosen."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from saltern.errors import RunError
from saltern.files import atomic

_COUNTS = "counts"
_IDS = "ids"


@dataclass(frozen=True)
class EpochCounts:
    """The content of `val_counts.safetensors`."""

    ids: tuple[str, ...]
    """The N validation images of the fold, in the order of the split."""
    counts: NDArray[np.int32]
    """(E, N, 3) tp, fp, fn in valid pixels at threshold 0.5 after each of E epochs; -1 for an epoch that was not
    counted, since an earlier version of Saltern trained it."""

    @classmethod
    def none(cls, ids: Sequence[str]) -> "EpochCounts":
        """Before the first epoch."""
        return cls(tuple(ids), np.empty((0, len(ids), 3), np.int32))

    @property
    def is_whole(self) -> bool:
        """Whether every epoch was counted."""
        return bool((self.counts >= 0).all())

    def with_epoch(self, epoch: int, counts: NDArray[np.integer]) -> "EpochCounts":
        """The same with `counts` (N, 3) as those of `epoch`, counted from 1; later epochs go, missing ones are -1."""
        before = np.full((epoch - 1, len(self.ids), 3), -1, np.int32)
        kept = self.counts[: epoch - 1]
        before[: len(kept)] = kept
        return EpochCounts(self.ids, np.concatenate([before, counts[None].astype(np.int32)]))

    def write(self, path: Path) -> None:
        """Write the file in one step; the same content gives the same bytes.

        Raises:
            StorageError: the disk is full, and the like.
        """
        with atomic(path) as temporary:
            temporary.write_bytes(save({_COUNTS: self.counts}, {_IDS: json.dumps(self.ids)}))

    @classmethod
    def read(cls, path: Path) -> "EpochCounts":
        """What `write` wrote.

        Raises:
            RunError: the file is missing, damaged, or holds something else.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                counts, ids = file.get_tensor(_COUNTS), json.loads((file.metadata() or {})[_IDS])
            if counts.shape[1:] != (len(ids), 3) or counts.dtype != np.int32:
                raise ValueError(f"{counts.dtype} of shape {counts.shape} for {len(ids)} ids")
        except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise RunError(
                f"{path}: cannot be read as the counts of epochs ({error}). Put it back, or delete the folder of "
                "the fold to train it again."
            ) from error
        return cls(tuple(map(str, ids)), counts)
