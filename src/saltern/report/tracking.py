"""Scores of every epoch as they arise: a CSV to read, TensorBoard scalars to watch."""

import csv
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from saltern.errors import RunError
from saltern.files import atomic
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
        self._writer: SummaryWriter | None = None

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Record a finished epoch, counted from 1; the files are complete on disk when this returns."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self._fold.tensorboard), purge_step=epoch)
        for name, score in scores.items():
            self._writer.add_scalar(_tag(name), score, epoch)
        self._writer.flush()
        self._rows = [row for row in self._rows if int(row["epoch"]) < epoch]
        self._rows.append({"epoch": str(epoch), "phase": phase, **{name: repr(float(scores[name])) for name in scores}})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with atomic(self._fold.metrics) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)

    def close(self) -> None:
        """Finish the TensorBoard file; logging again afterwards begins a new one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> "EpochLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _tag(name: str) -> str:
    """TensorBoard groups by what stands before the slash: val_iou_image → val/iou_image."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if rest and group in ("val", "loss") else name


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
