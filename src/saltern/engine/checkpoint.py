"""What a resumable run is made of, in a file that knows when it was altered."""

import hashlib
import struct
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from saltern.errors import RunError
from saltern.files import atomic
from saltern.runtime import Group

MARK = b"sha256:"
"""Begins the zip comment that holds the checksum of everything before it."""
_COMMENT = len(MARK) + 64


@dataclass
class TrainState:
    """Everything the loop counts. The schedule is a function of `epoch` and `ended`."""

    epoch: int = 0
    """Finished epochs, over all phases."""
    step: int = 0
    """Optimizer steps that moved the weights."""
    best_score: float | None = None
    best_epoch: int | None = None
    """The epoch whose weights are the best so far; it names their file."""
    best_digest: str | None = None
    """SHA-256 of that file."""
    kept: dict[int, str] = field(default_factory=dict)
    """Epochs whose weights may become part of the average → SHA-256 of their file."""
    average_epochs: list[int] = field(default_factory=list)
    """The epochs whose mean the average is, once it is made."""
    average_score: float | None = None
    """Its monitored score."""
    average_digest: str | None = None
    """SHA-256 of its file."""
    phase_best: dict[str, float] = field(default_factory=dict)
    """Phase → its best monitored score."""
    ended: dict[str, int] = field(default_factory=dict)
    """Phase → the epochs it took, where these are not those of the schedule."""
    ended_by: str | None = None
    """What ended the training before its schedule did: early_stop or max_hours."""
    seconds: float = field(default=0.0, compare=False)
    """What the finished epochs took, validation included, over all interruptions."""
    longest: float = field(default=0.0, compare=False)
    """Seconds of the longest of them."""
    history: list[float] = field(default_factory=list)
    """The monitored score of every finished epoch."""
    precision: str | None = None
    """fp32, bf16 or fp16: that of the last epoch."""

    def agree_on_kept(self, group: Group) -> None:
        """Take over what the main process, which alone writes, knows of the weights that it has kept."""
        mine = [self.best_digest, list(self.kept.items()), self.average_epochs, self.average_digest]
        self.best_digest, kept, self.average_epochs, self.average_digest = group.agree(mine)
        self.kept = {int(epoch): str(digest) for epoch, digest in kept}


class _Spool:
    """What torch writes to: it goes on after an error of the disk, which is raised when torch has ended."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Write, or note the first error (or Ctrl-C); torch answers one in here with sixty lines of its own."""
        if self.error is None:
            try:
                self.file.write(data)
            except BaseException as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is whole."""


def save_checkpoint(path: Path, state: TrainState, parts: dict[str, Any]) -> None:
    """Write `state` and `parts` (name → state dict) in one step, with a checksum as the comment of torch's zip.

    Raises:
        StorageError: the disk is full, and the like.
    """
    with atomic(path) as temporary, temporary.open("w+b") as file:
        spool = _Spool(file)
        torch.save({"state": asdict(state), **parts}, spool)  # type: ignore[arg-type]
        if spool.error is not None:
            raise spool.error
        file.seek(0)
        digest = _digest(file, file.seek(0, 2) - 2)
        file.seek(-2, 2)  # the length of the comment, which ends the file
        file.write(struct.pack("<H", _COMMENT) + MARK + digest.encode())


def load_checkpoint(path: Path) -> tuple[TrainState, dict[str, Any]]:
    """Read what `save_checkpoint` wrote; tensors come to the CPU. Runs no code that the file might hold.

    Raises:
        RunError: truncated, altered, not readable, or from another version.
    """
    try:
        _verify(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
        return TrainState(**content.pop("state")), content
    except Exception as error:  # a damaged file makes torch, pickle and zipfile raise classes of their own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RunError(f"{path}: not readable as a checkpoint ({reason[0]})") from error


def _verify(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < _COMMENT + 2:
            raise RunError("it is cut")
        file.seek(-_COMMENT, 2)
        comment = file.read()
        if not comment.startswith(MARK):
            raise RunError("it is cut, or has no checksum at its end")
        if comment[len(MARK) :].decode("ascii", "replace") != _digest(file, size - _COMMENT - 2):
            raise RunError("its checksum does not fit: it was altered")


def _digest(file: IO[bytes], size: int) -> str:
    """SHA-256, hexadecimal, of the first `size` bytes."""
    file.seek(0)
    found, left = hashlib.sha256(), size
    while left and (chunk := file.read(min(left, 1 << 20))):
        found.update(chunk)
        left -= len(chunk)
    return found.hexdigest()
