"""Scores of every epoch as they arise: a CSV to read, TensorBoard scalars to watch."""

import csv
import io
import os
import socket
import time
from itertools import count
from pathlib import Path
from types import TracebackType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from saltern.errors import RunError
from saltern.files import atomic, storage_errors
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
        self._events: _EventFile | None = None

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Record a finished epoch, counted from 1; the files are complete on disk when this returns.

        Raises:
            StorageError: the disk is full, and the like.
        """
        if self._events is None:
            self._events = _EventFile(self._fold.tensorboard)
            begun = Event(step=epoch, session_log=SessionLog(status=SessionLog.START))  # what came later is forgotten
            self._events.add(Event(file_version="brain.Event:2"), begun)
        values = [Summary.Value(tag=_tag(name), simple_value=float(score)) for name, score in scores.items()]
        self._events.add(*(Event(step=epoch, summary=Summary(value=[value])) for value in values))
        self._rows = [row for row in self._rows if int(row["epoch"]) < epoch]
        self._rows.append({"epoch": str(epoch), "phase": phase, **{name: repr(float(scores[name])) for name in scores}})
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        with atomic(self._fold.metrics) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)

    def close(self) -> None:
        """Done with the TensorBoard file; logging again afterwards begins a new one."""
        self._events = None

    def __enter__(self) -> "EpochLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _EventFile:
    """A TensorBoard file, written here and now: torch's writer has a thread, whose errors come as it pleases."""

    _numbers = count()

    def __init__(self, folder: Path) -> None:
        label = f"{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(self._numbers)}"
        self._path = folder / f"events.out.tfevents.{label}"

    def add(self, *events: Event) -> None:
        """Append `events`, all or none of them."""
        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in events:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())
        with storage_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            size = self._path.stat().st_size if self._path.exists() else 0
            try:
                with self._path.open("ab") as file:
                    file.write(records.getvalue())
            except OSError:
                os.truncate(self._path, size)
                raise


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
