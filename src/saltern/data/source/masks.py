"""From the pixel values of a mask file to targets {0, 1, 255}."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from saltern.data.source.images import read_values
from saltern.errors import DataError

VOID = 255
"""The target of pixels that count in no loss and no score."""
_STRAY = 2


@dataclass(frozen=True)
class MaskValues:
    """What the values in mask files mean. Any value without a meaning makes the mask an error."""

    foreground: frozenset[int] | None = None
    """Values of foreground; None: 1, 255 or 65535, only one of them in a mask."""
    background: frozenset[int] = field(default_factory=lambda: frozenset({0}))
    void: frozenset[int] = frozenset()
    threshold: int | None = None
    """Values above it are foreground, all others background; for masks saved with blurred edges or as JPEG."""
    meaning: str = "0 and one of 1, 255, 65535"
    """For the error: what was expected."""
    remedy: str = "Save the mask again with these two values."
    """For the error: what to do."""

    def target(self, values: np.ndarray, where: object) -> np.ndarray:
        """`values` (H, W) of any unsigned type → uint8 (H, W) in {0, 1, 255}.

        Raises:
            DataError: values without a meaning; the text names the first of them.
        """
        if self.threshold is not None:
            return self._over_threshold(values)
        found = distinct(values)
        foreground = self.foreground
        if foreground is None:
            candidates = [int(value) for value in found if value in (1, 255, 65535) and int(value) not in self.void]
            foreground = frozenset(candidates[:1])
        table = np.full(int(found[-1]) + 1, _STRAY, np.uint8)
        for meant, group in ((0, self.background), (1, foreground), (VOID, self.void)):
            table[[value for value in group if value < len(table)]] = meant
        stray = found[table[found] == _STRAY]
        if len(stray):
            share = np.isin(values, stray).mean()
            shown = ", ".join(map(str, stray[:8])) + (f", … ({len(stray)} in all)" if len(stray) > 8 else "")
            raise DataError(
                f"{where}: stray mask values {shown} in {share:.1%} of the pixels; expected {self.meaning}. "
                f"{self.remedy}"
            )
        return table[values]

    def _over_threshold(self, values: np.ndarray) -> np.ndarray:
        target = (values > self.threshold).astype(np.uint8)
        if self.void:
            target[np.isin(values, list(self.void))] = VOID
        return target

    def read(self, path: Path) -> np.ndarray:
        """The mask file as targets, uint8 (H, W) in {0, 1, 255}.

        Raises:
            DataError: unreadable, or values without a meaning.
        """
        return self.target(read_values(path), path)


def distinct(values: np.ndarray) -> np.ndarray:
    """The different values of an unsigned array, ascending; quick where there are one or two, as in most masks."""
    lowest, highest = values.min(), values.max()
    if ((values == lowest) | (values == highest)).all():
        return np.unique(np.array([lowest, highest]))
    return np.flatnonzero(np.bincount(values.ravel()))


def coverage_of(target: np.ndarray) -> float:
    """Share of foreground among the valid pixels of a target (H, W); 0 where no pixel is valid."""
    valid = target.size - np.count_nonzero(target == VOID)
    return np.count_nonzero(target == 1) / valid if valid else 0.0
