"""What training keeps: the state to continue from, the weights that may predict; each written so that no stop hurts."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saltern.engine.checkpoint import TrainState, load_checkpoint, save_checkpoint
from saltern.errors import RunError
from saltern.files import sha256, storage_errors
from saltern.hold import Hold
from saltern.models.trained import load_weights, read_weights, save_weights
from saltern.runs import FoldDir

log = logging.getLogger(__name__)


class Keeper:
    """The files of one fold's training.

    An epoch ends with these writes, in this order: the best weights under the name of their epoch, the weights that may
    become part of the average under theirs, a snapshot, the row of scores, the checkpoint, which means all but the
    snapshot by epoch and SHA-256. Only then go weights that no checkpoint means. The checkpoint before the last one
    stays beside it until training is complete. A stop between any two writes leaves a checkpoint whose files are all
    there, and the epoch after it is done again.

    With trainer.keep=average follow, once, the average and a checkpoint that means it in place of what it was made of;
    a stop before that one has it made again. Complete training ends with the last weights, where they are kept (the
    checkpoint holds them too), then the best ones under their final name. Only then go the older checkpoint and the
    weights of epochs, in this order.
    """

    def __init__(self, fold: FoldDir, holds: Sequence[Hold] = ()) -> None:
        """`holds`: what makes the folder ours, asked before each write."""
        self.fold = fold
        self._holds = holds
        self._last_is_sound = True
        self._meant: list[set[Path]] = [set(), set()]
        """The weights of epochs that the checkpoint before the last one means, and the last one."""

    def resume(self) -> tuple[TrainState, dict[str, Any]] | None:
        """The last state and its parts, or the one before it, with a warning, where the last one is damaged.

        Raises:
            RunError: there are checkpoints, and all are damaged; or weights for the average are gone or changed.
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
            for epoch, digest in state.kept.items():
                self._require(self.fold.of_epoch(epoch), digest)
            self._meant = [self._means(state)] * 2
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
        self._require(path, state.best_digest)
        load_weights(path, network)

    def keep_best(self, state: TrainState, network: nn.Module) -> None:
        """Write the weights of `network` as those of the epoch that `state` calls the best, and note their checksum."""
        assert state.best_epoch is not None, "no best epoch"
        self._still_ours()
        path = self.fold.best_of(state.best_epoch)
        save_weights(path, network)
        state.best_digest = sha256(path)

    def keep_for_average(self, state: TrainState, epochs: Sequence[int], network: nn.Module) -> None:
        """The average would be made of `epochs` now: write the weights of `network` where the last is one of them."""
        kept = {epoch: digest for epoch, digest in state.kept.items() if epoch in epochs}
        if state.epoch in epochs:
            self._still_ours()
            path = self.fold.of_epoch(state.epoch)
            save_weights(path, network)
            kept[state.epoch] = sha256(path)
        state.kept = kept

    def kept_weights(self, state: TrainState) -> Iterator[dict[str, Tensor]]:
        """The weights that `state` means for the average, one epoch after another, on the CPU.

        Raises:
            RunError: some are gone, or not those that it means.
        """
        for epoch, digest in sorted(state.kept.items()):
            self._require(self.fold.of_epoch(epoch), digest)
            yield read_weights(self.fold.of_epoch(epoch))

    def keep_average(self, state: TrainState, network: nn.Module, parts: dict[str, Any]) -> None:
        """Write the average, and that it is made: what it was made of is needed no longer."""
        self._still_ours()
        save_weights(self.fold.average, network)
        state.average_epochs, state.kept = sorted(state.kept), {}
        state.average_digest = sha256(self.fold.average)
        self.checkpoint(state, parts)

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
        self._meant = [self._meant[1], self._means(state)]
        self._drop_unmeant()

    def finish(self, state: TrainState, last: nn.Module | None = None) -> None:
        """Training is complete: weights take their final names, and what only a resume needs goes.

        Args:
            state: That of the last epoch.
            last: The network whose weights are to be kept as the last ones, if any are; there must be one where no
                score says which are the best.

        Raises:
            RunError: weights that `state` means are gone or changed.
        """
        assert state.best_epoch is not None or last is not None, "no weights to keep"
        self._still_ours()
        if state.average_digest is not None:
            self._require(self.fold.average, state.average_digest)
        if last is not None:
            save_weights(self.fold.last_weights, last)
        if state.best_epoch is not None:
            self._name_best(state, self.fold.best_of(state.best_epoch))
        if self.fold.last.exists():
            self.fold.previous.unlink(missing_ok=True)
        self._meant = [set(), set()]
        self._drop_unmeant()

    def _name_best(self, state: TrainState, path: Path) -> None:
        if path.exists():
            with storage_errors(self.fold.best):
                path.replace(self.fold.best)
        self._require(self.fold.best, state.best_digest)

    def _still_ours(self) -> None:
        for hold in self._holds:
            hold.check()

    def _means(self, state: TrainState) -> set[Path]:
        """The weights of epochs that a checkpoint of `state` means."""
        best = set() if state.best_epoch is None else {self.fold.best_of(state.best_epoch)}
        return best | {self.fold.of_epoch(epoch) for epoch in state.kept}

    def _require(self, path: Path, digest: str | None) -> None:
        if not path.exists() or sha256(path) != digest:
            raise RunError(
                f"{path}: {'was changed' if path.exists() else 'is gone'}, but the checkpoint means it. "
                "Put it back, or delete the fold's folder to train it again."
            )

    def _drop_unmeant(self) -> None:
        kept = self._meant[0] | self._meant[1]
        for path in [*self.fold.bests(), *self.fold.epochs()]:
            if path not in kept:
                path.unlink(missing_ok=True)
