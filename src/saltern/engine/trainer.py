"""The training loop of one fold."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from saltern.engine.checkpoint import TrainState
from saltern.engine.ema import AveragedWeights
from saltern.engine.fold_data import EpochLog, FoldData, Micro
from saltern.engine.keeper import Keeper
from saltern.engine.meter import LossMeter, TrainBatch
from saltern.engine.objective import Objective
from saltern.engine.optim import build_optimizer, ends_cycle, lr_at, set_lr
from saltern.engine.recipe import Recipe
from saltern.engine.soundness import not_finite
from saltern.errors import RunError, TrainingError
from saltern.losses import Position, Schedule, build_loss
from saltern.progress import Progress
from saltern.runtime import Runtime, seed_all
from saltern.runtime.memory import TRAINING, enough_memory

log = logging.getLogger(__name__)


class Trainer:
    """Trains one network through a schedule; stops and continues at epoch boundaries.

    What is saved is `TrainState` and the state dicts of network, average, optimizer and precision. Data order and
    dropout depend on (seed, epoch) alone, loss and learning rate on the epoch: a run that was interrupted
    gives what it would have given without.
    """

    def __init__(
        self,
        runtime: Runtime,
        recipe: Recipe,
        keeper: Keeper,
        epoch_log: EpochLog,
        progress: Progress,
    ) -> None:
        self.runtime = runtime
        self.group = runtime.group
        self.schedule = Schedule(recipe.schedule)
        self.recipe = recipe
        self.config = recipe.trainer
        self.keeper = keeper
        self.fold = keeper.fold
        self.epoch_log = epoch_log
        self.progress = progress
        self.state = TrainState()
        self.average: AveragedWeights | None = None

    def fit(self, model: nn.Module, data: FoldData, seed: int) -> TrainState:
        """Train `model` to the schedule's end, from the last finished epoch where there is one.

        On return `model` holds the last weights; the best ones lie in `fold.best`. With `ema_decay` the averaged
        weights are those that are scored and kept, while the optimizer goes on from the plain ones.

        Raises:
            TrainingError: the loss, the weights or the monitored score are not finite, or memory runs out.
            RunError: a checkpoint that cannot be read, or processes that see different ones.
        """
        self.runtime.place(model, channels_last=self.config.channels_last)
        self.runtime.fresh_scaler()
        saved = self._resume(model)
        self.average = self._averaged(model, saved)
        wrapped = self.runtime.fabric.setup_module(model, move_to_device=False)
        optimizer: Any = None
        epochs = range(self.state.epoch, self.schedule.epochs)
        images = sum(data.sizes) * self.runtime.world_size
        with self.progress.track(self.fold.path.name, images * len(epochs)):
            for epoch in epochs:
                at = self.schedule.at(epoch)
                if optimizer is None or at.epoch == 0:
                    optimizer = self._begin_phase(model, at, saved)
                    saved = None
                seed_all(hash((seed, epoch, self.runtime.rank)))
                self.progress.describe(f"{self.fold.path.name} {at.name} {epoch + 1}/{self.schedule.epochs}")
                scores = self._train_epoch(wrapped, optimizer, data, at)
                judged = self.average.network if self.average else model
                self._refuse_broken(model, judged, at)
                scores |= {f"val_{name}": value for name, value in data.validate(judged).items()}
                self._count(at, scores)
                self.group.on_main(self._keep, judged, at, scores, self._parts(model, optimizer))
                self.state.best_digest = self.group.agree(self.state.best_digest)
        self.group.on_main(self.keeper.finish, self.state)
        return self.state

    def _resume(self, model: nn.Module) -> dict[str, Any] | None:
        """Go on from the checkpoint, if any, which must be the same on every process."""
        found = self.keeper.resume()
        self.group.require_equal(f"{self.fold.path}, finished epochs", found[0].epoch if found else 0)
        if found is None:
            self.state.precision = self.runtime.precision
            return None
        self.state, saved = found
        with self._fitting():
            model.load_state_dict(saved["model"])
        log.info("%s: continues after epoch %d", self.fold.path, self.state.epoch)
        if self.state.precision != self.runtime.precision:
            was, now = self.state.precision, self.runtime.precision
            log.warning("%s: goes on in another precision, %s after %s", self.fold.path, now, was)
        self.state.precision = self.runtime.precision
        return saved

    def _averaged(self, model: nn.Module, saved: dict[str, Any] | None) -> AveragedWeights | None:
        if self.config.ema_decay is None:
            return None
        average = AveragedWeights(model, self.config.ema_decay)
        if saved is not None:
            with self._fitting():
                average.load_state_dict(saved["average"])
        return average

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Raise a RunError where a part of the checkpoint is not there, or is that of another network or optimizer."""
        try:
            yield
        except (KeyError, RuntimeError, ValueError, TypeError, IndexError) as error:
            said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RunError(
                f"{self.fold.last}: is not the checkpoint of this network and optimizer ({said.strip()[:200]}). Put "
                "back the one that this run wrote, or delete the fold's folder to train it again."
            ) from error

    def _begin_phase(self, model: nn.Module, at: Position, saved: dict[str, Any] | None) -> Any:
        """The optimizer for the phase, with its state where a checkpoint lies inside the phase."""
        if at.epoch == 0 and at.phase.start_from == "best" and self.state.best_score is not None:
            self.keeper.load_best(self.state, model)
            if self.average:
                self.average.restart()
        fused = self.runtime.fuses(clips=self.config.clip_grad_norm is not None)
        plain = build_optimizer(model, self.recipe.optim, at.phase.lr, fused=fused)
        optimizer: Any = self.runtime.fabric.setup_optimizers(plain)
        if saved is not None:
            with self._fitting():
                self._restore_precision(saved["precision"])
                if at.epoch > 0:
                    optimizer.load_state_dict(saved["optimizer"])
        return optimizer

    def _restore_precision(self, state: dict[str, Any]) -> None:
        plugin = self.runtime.fabric.strategy.precision
        if state and plugin.state_dict():  # both scale the loss
            plugin.load_state_dict(state)

    def _train_epoch(self, model: nn.Module, optimizer: Any, data: FoldData, at: Position) -> dict[str, float]:
        model.train()
        loss = Objective(build_loss(at.phase.terms()), self.recipe.heads).to(self.runtime.device)
        where = f"{self.fold.path}, epoch {self.state.epoch + 1} ({at.name})"
        meter = LossMeter(self.runtime.device, where, self.fold.broken_batch(self.runtime.rank))
        before = self.state.step
        history = self.state.history[len(self.state.history) - at.epoch :]
        began = time.perf_counter()
        lr = 0.0
        for index, batch in enumerate(data.batches(self.state.epoch)):
            micro = Micro(index, data.sizes, self.config.accumulate)
            lr = lr_at(at.phase, at.epoch + micro.first / len(data.sizes), history)
            set_lr(optimizer, lr)
            with enough_memory(TRAINING, self.runtime.device, where, batch.images.shape):
                self._forward_backward(model, loss, batch, meter, micro)
                if micro.updates:
                    self._update(model, optimizer)
            self.progress.advance(len(batch.images) * self.runtime.world_size, loss=meter.last)
        means = meter.means(self.runtime.sum_over_ranks)
        if self.state.step == before:
            raise TrainingError(
                f"{where}: the gradients of every step overflowed in {self.runtime.precision}, so no weight moved. Go "
                "on with trainer.precision=bf16 or fp32."
            )
        images = sum(data.sizes) * self.runtime.world_size
        return {**means, "lr": lr, "images_per_s": images / (time.perf_counter() - began)}

    def _forward_backward(
        self, model: nn.Module, loss: Objective, batch: TrainBatch, meter: LossMeter, micro: Micro
    ) -> None:
        images = batch.images.to(self.runtime.device, non_blocking=True)
        targets = batch.targets.to(self.runtime.device, non_blocking=True)
        order = torch.channels_last if self.config.channels_last else torch.contiguous_format
        images = images.contiguous(memory_format=order)
        fabric = self.runtime.fabric
        with fabric.no_backward_sync(model, enabled=not micro.updates):
            total, terms = loss(model(images), targets)
            meter.add(total, terms, batch)
            fabric.backward(total * micro.share)

    def _update(self, model: nn.Module, optimizer: Any) -> None:
        clip = self.config.clip_grad_norm
        if clip is not None:  # fp16 gradients may overflow; the scaler then skips the step
            self.runtime.fabric.clip_gradients(model, optimizer, max_norm=clip, error_if_nonfinite=False)
        moved = self.runtime.step(optimizer)
        optimizer.zero_grad(set_to_none=True)
        if moved:
            self.state.step += 1
            if self.average:
                self.average.update()

    def _refuse_broken(self, model: nn.Module, judged: nn.Module, at: Position) -> None:
        """Raise a TrainingError where a weight is not finite: a score of such weights may look like one."""
        broken = not_finite([model] if judged is model else [model, judged])
        if broken:
            raise TrainingError(
                f"{self.fold.path}, epoch {self.state.epoch + 1} ({at.name}): {len(broken)} weights are not finite, "
                f"such as {broken[0]}. The last finished epoch is kept: go on from it with trainer.precision=fp32, or "
                "lower the phase's lr or trainer.clip_grad_norm under another name=…"
            )

    def _count(self, at: Position, scores: dict[str, float]) -> None:
        """Advance the state by an epoch."""
        state, name = self.state, f"val_{self.config.monitor}"
        score = scores[name]
        if not math.isfinite(score):
            raise TrainingError(f"{self.fold.path}: {name} is {score} in epoch {state.epoch + 1}.")
        state.epoch += 1
        state.history.append(score)
        state.phase_best[at.name] = max(score, state.phase_best.get(at.name, -math.inf))
        if state.best_score is None or score > state.best_score:
            state.best_score, state.best_epoch = score, state.epoch
        self.progress.advance(0, val=score, best=float(state.best_score or 0.0))

    def _parts(self, model: nn.Module, optimizer: Any) -> dict[str, Any]:
        parts = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "precision": self.runtime.fabric.strategy.precision.state_dict(),
        }
        if self.average:
            parts["average"] = self.average.state_dict()
        return parts

    def _keep(self, judged: nn.Module, at: Position, scores: dict[str, float], parts: dict[str, Any]) -> None:
        """Write what the epoch has brought; the checkpoint comes last."""
        state = self.state
        if state.best_epoch == state.epoch:
            self.keeper.keep_best(state, judged)
        cycle = ends_cycle(at.phase, at.epoch)
        if cycle is not None:
            self.keeper.keep_snapshot(at.name, cycle, judged)
        self.epoch_log.log(state.epoch, at.name, scores)
        self.keeper.checkpoint(state, parts)
