"""What training keeps: the state to continue from, the best weights, snapshots; each written so that no stop hurts."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from saltern.engine.checkpoint import TrainState, load_checkpoint, save_checkpoint
from saltern.errors import RunError
from saltern.files import sha256, storage_errors
from saltern.hold import Hold
from saltern.models.trained import load_weights, save_weights
from saltern.runs import FoldDir

log = logging.getLogger(__name__)


class Keeper:
    """The files of one fold's training.

    An epoch ends with these writes, in this order: the best weights under the name of their epoch, a snapshot, the row
    of scores, the checkpoint, which means the best weights by epoch and SHA-256. Only then go weights that no
    checkpoint means. The checkpoint before the last one stays beside it until training is complete. A stop between any
    two writes leaves a checkpoint whose files are all there, and the epoch after it is done again.
    """

    def __init__(self, fold: FoldDir, holds: Sequence[Hold] = ()) -> None:
        """`holds`: what makes the folder ours, asked before each write."""
        self.fold = fold
        self._holds = holds
        self._last_is_sound = True
        self._meant: list[int | None] = [None, None]
        """The epochs of the best weights that the checkpoint before the last one means, and the last one."""

    def resume(self) -> tuple[TrainState, dict[str, Any]] | None:
        """The last state and its parts, or the one before it, with a warning, where the last one is damaged.

        Raises:
            RunError: there are checkpoints, and all are damaged.
        """
        found = [path for path in (self.fold.last, self.fold.previous) if path.exists()]
        damaged: list[RunError] = []
        for path in found:
            try:
                state, parts = load_checkpoint(path)
            except RunError as error:
                damaged.append(error)
                continue
            if damaged:
                log.warning("%s; the one before it, of epoch %d, is used", damaged[0], state.epoch)
                self._last_is_sound = False
            self._meant = [state.best_epoch, state.best_epoch]
            return state, parts
        if damaged:
            raise RunError(f"{damaged[0]}. Delete the fold's folder to train it again.") from damaged[0]
        return None

    def load_best(self, state: TrainState, network: nn.Module) -> None:
        """Load the best weights that `state` means.

        Raises:
            RunError: they are gone, or not those that it means.
        """
        assert state.best_epoch is not None, "no best weights yet"
        path = self.fold.best_of(state.best_epoch)
        self._require(path, state)
        load_weights(path, network)

    def keep_best(self, state: TrainState, network: nn.Module) -> None:
        """Write the weights of `network` as those of the epoch that `state` calls the best, and note their checksum."""
        assert state.best_epoch is not None, "no best epoch"
        self._still_ours()
        path = self.fold.best_of(state.best_epoch)
        save_weights(path, network)
        state.best_digest = sha256(path)

    def keep_snapshot(self, phase: str, cycle: int, network: nn.Module) -> None:
        """Write the weights at the end of a cosine cycle."""
        self._still_ours()
        save_weights(self.fold.snapshot(phase, cycle), network)

    def checkpoint(self, state: TrainState, parts: dict[str, Any]) -> None:
        """Write what the run continues from; after everything else, so that it never claims too much."""
        self._still_ours()
        if self.fold.last.exists() and self._last_is_sound:
            with storage_errors(self.fold.previous):
                self.fold.last.replace(self.fold.previous)
        save_checkpoint(self.fold.last, state, parts)
        self._last_is_sound = True
        self._meant = [self._meant[1], state.best_epoch]
        self._drop_unmeant()

    def keep_last(self, network: nn.Module) -> None:
        """Write the weights that training ended with, where no score says which are better."""
        self._still_ours()
        save_weights(self.fold.last_weights, network)

    def finish(self, state: TrainState) -> None:
        """Training is complete: the best weights, if any, take their final name; what only a resume needs goes."""
        self._still_ours()
        if state.best_epoch is not None:
            self._name_best(state, self.fold.best_of(state.best_epoch))
        self._meant = [None, None]
        self._drop_unmeant()
        if self.fold.last.exists():
            self.fold.previous.unlink(missing_ok=True)

    def _name_best(self, state: TrainState, path: Path) -> None:
        if path.exists():
            with storage_errors(self.fold.best):
                path.replace(self.fold.best)
        self._require(self.fold.best, state)

    def _still_ours(self) -> None:
        for hold in self._holds:
            hold.check()

    def _require(self, path: Path, state: TrainState) -> None:
        if not path.exists() or sha256(path) != state.best_digest:
            raise RunError(
                f"{path}: {'was changed' if path.exists() else 'is gone'}, but the checkpoint means it. "
                "Put it back, or delete the fold's folder to train it again."
            )

    def _drop_unmeant(self) -> None:
        kept = {self.fold.best_of(epoch) for epoch in self._meant if epoch is not None}
        for path in self.fold.bests():
            if path not in kept:
                path.unlink(missing_ok=True)
