"""TensorBoard's event files, written here and now: torch's writer has a thread, whose errors come as it pleases."""

import io
import os
import socket
import time
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from saltern.files import atomic, clear_leftovers, storage_errors

EVENTS = "events.out.tfevents"
"""How the name of an event file begins."""
_numbers = count()


class EventFile:
    """An event file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def continued(cls, folder: Path, step: int) -> "EventFile":
        """The one event file of `folder`, in which nothing has a step of `step` or later.

        What earlier files hold of the steps before is taken over, and they are deleted. TensorBoard's fast reader does
        not heed the mark by which a writer forgets later steps, so they must not be there. What cannot be read of a
        file, such as a record that was cut off, is left out.

        Raises:
            StorageError: the disk is full, and the like.
        """
        kept = [event for event in read_events(event_files(folder)) if event.step < step]
        begun = Event(step=0, session_log=SessionLog(status=SessionLog.START))  # a server that runs begins anew, too
        return cls(_replace(folder, [begun, *kept]))

    def add(self, step: int, values: Sequence[Summary.Value]) -> None:
        """Append an event of `step` for each of `values`, all or none of them."""
        records = _records(_events(step, values))
        with storage_errors(self._path):
            size = self._path.stat().st_size
            try:
                with self._path.open("ab") as file:
                    file.write(records)
            except OSError:
                os.truncate(self._path, size)
                raise


def write_events(folder: Path, step: int, values: Sequence[Summary.Value]) -> None:
    """Make `values`, at `step`, all that `folder` says to TensorBoard.

    Raises:
        StorageError: the disk is full, and the like.
    """
    _replace(folder, _events(step, values))


def event_files(folder: Path) -> list[Path]:
    """The event files of `folder`, the oldest first."""
    return sorted(folder.glob(f"{EVENTS}.*"))


def read_events(files: Sequence[Path]) -> list[Event]:
    """What `files` say, without what a later start has taken back."""
    found: list[Event] = []
    for path in files:
        for record in RawEventFileLoader(str(path)).Load():
            event = Event.FromString(record)
            if event.session_log.status == SessionLog.START:
                found = [item for item in found if item.step < event.step]
            elif event.HasField("summary"):
                found.append(event)
    return found


def scalar(tag: str, value: float) -> Summary.Value:
    """A number for TensorBoard's page of charts."""
    return Summary.Value(tag=tag, simple_value=float(value))


def image(tag: str, pixels: NDArray[np.uint8]) -> Summary.Value:
    """`pixels` uint8 (H, W, 3), RGB, for its page of images."""
    good, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    assert good, f"a picture of shape {pixels.shape} could not be encoded"
    height, width = pixels.shape[:2]
    png = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=data.tobytes())
    return Summary.Value(tag=tag, image=png)


def hparams(name: str, settings: Mapping[str, Any], scores: Sequence[str]) -> list[Summary.Value]:
    """What makes a run a row of its page of settings and scores.

    Args:
        name: Of the run: each is a row of its own.
        settings: Name → number, truth value or text.
        scores: The tags of scalars of the same folder, which are the columns beside the settings.
    """
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2, summary_v2
    from tensorboard.plugins.hparams import metadata as kinds

    metrics = [summary_v2.Metric(tag, display_name=tag) for tag in scores]
    parts = [
        summary_v2.hparams_config_pb(hparams=[summary_v2.HParam(name) for name in settings], metrics=metrics),
        summary_v2.hparams_pb(dict(settings), trial_id=name),
    ]
    done = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    end = plugin_data_pb2.HParamsPluginData(session_end_info=done, version=kinds.PLUGIN_DATA_VERSION)
    told = kinds.create_summary_metadata(end)  # tensorboard's own function for it asks for TensorFlow
    ended = Summary.Value(tag=kinds.SESSION_END_INFO_TAG, metadata=told, tensor=kinds.NULL_TENSOR)
    return [*(value for part in parts for value in part.value), ended]


def _new_name() -> str:
    return f"{EVENTS}.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"


def _events(step: int, values: Sequence[Summary.Value]) -> list[Event]:
    return [Event(step=step, summary=Summary(value=[value])) for value in values]


def _replace(folder: Path, events: Sequence[Event]) -> Path:
    """Write `events` as the one event file of `folder`, and delete those that were there."""
    old, path = event_files(folder), folder / _new_name()
    clear_leftovers(folder)  # TensorBoard would take them for event files
    with atomic(path) as temporary:
        temporary.write_bytes(_records([Event(file_version="brain.Event:2"), *events]))
    for other in old:
        with storage_errors(other):
            other.unlink(missing_ok=True)
    return path


def _records(events: Sequence[Event]) -> bytes:
    records = io.BytesIO()
    writer = RecordWriter(records)
    for event in events:
        event.wall_time = event.wall_time or time.time()
        writer.write(event.SerializeToString())
    return records.getvalue()
