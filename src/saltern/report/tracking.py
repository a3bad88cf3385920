"""Scores of every epoch as they arise: a CSV to read, TensorBoard scalars to watch."""

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from saltern.errors import RunError
from saltern.files import atomic
from saltern.report.events import EventFile, image, scalar
from saltern.runs import FoldDir


class EpochLog:
    """`metrics.csv` (epoch, phase, then every score by name) and `tensorboard/` of one fold; use as a context.

    A run that continues at an epoch it had logged before, because it stopped between logging and saving, replaces
    that epoch and forgets later ones, in both places. Scores may differ from phase to phase: a column that an epoch
    does not have stays empty in its row.
    """

    def __init__(self, fold: FoldDir) -> None:
        self._fold = fold
        self._rows = _read(fold.metrics)
        self._events: EventFile | None = None

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Record a finished epoch, counted from 1; the files are complete on disk when this returns.

        Raises:
            StorageError: the disk is full, and the like.
        """
        if self._events is None:
            self._events = EventFile.continued(self._fold.tensorboard, epoch)
        self._events.add(epoch, [scalar(_tag(name), score) for name, score in scores.items()])
        self._rows = [row for row in self._rows if int(row["epoch"]) < epoch]
        self._rows.append({"epoch": str(epoch), "phase": phase, **{name: repr(float(scores[name])) for name in scores}})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with atomic(self._fold.metrics) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)

    def draw(self, epoch: int, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """Show `pictures`, name → uint8 (H, W, 3) RGB, in TensorBoard under an epoch that was logged just now."""
        assert self._events is not None, "pictures of an epoch that was not logged"
        self._events.add(epoch, [image(f"images/{name}", pixels) for name, pixels in pictures.items()])

    def close(self) -> None:
        """Done with the TensorBoard file; logging again afterwards begins a new one."""
        self._events = None

    def __enter__(self) -> "EpochLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tag(name: str) -> str:
    """TensorBoard groups by what stands before the slash: val_iou_image → val/iou_image."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if rest and group in ("val", "loss", "lr") else name


def _read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [
                {name: cell for name, cell in row.items() if cell != ""} for row in csv.DictReader(file, strict=True)
            ]
        if any(int(row["epoch"]) < 1 or None in row for row in rows):
            raise ValueError("an epoch below 1, or a cell too many")
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path}: not readable as a table of epochs ({error!r}); delete it to go on without it."
        ) from None
    return rows
