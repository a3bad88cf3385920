"""The training loop of one fold."""

import logging
import math
import time
from typing import Any

from torch import nn

from saltern.engine.checkpoint import TrainState
from saltern.engine.ema import AveragedWeights
from saltern.engine.ending import Ending
from saltern.engine.fold_data import EpochLog, FoldData, Micro
from saltern.engine.freezing import Freezer, hold_norms
from saltern.engine.keeper import Keeper
from saltern.engine.meter import LossMeter, TrainBatch
from saltern.engine.mixing import mixed
from saltern.engine.objective import Objective
from saltern.engine.optim import build_optimizer, ends_cycle, lr_at, scaled_rates, set_lr
from saltern.engine.recipe import Recipe
from saltern.engine.resuming import fitting, restore_precision
from saltern.engine.soundness import not_finite
from saltern.engine.soup import chosen, cook
from saltern.engine.step import placed, update
from saltern.errors import TrainingError
from saltern.losses import Position, Schedule, build_loss
from saltern.progress import Progress
from saltern.runtime import Runtime, seed_all
from saltern.runtime.memory import TRAINING, Memory, enough_memory

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
        self.state = TrainState(ended=dict(recipe.lengths))
        self.ending = Ending(recipe.trainer, self.schedule, self.group, str(keeper.fold.path))
        self.average: AveragedWeights | None = None

    def fit(self, model: nn.Module, data: FoldData, seed: int) -> TrainState:
        """Train `model` to the schedule's end, or an earlier one, from the last finished epoch where there is one.

        On return `model` holds the last weights; the best ones lie in `fold.best`, and beside it what `keep` asks for.
        Where `data` has no scores, the last ones lie in `fold.last_weights` alone. With `ema_decay` the averaged
        weights are those that are scored and kept, while the optimizer goes on from the plain ones.

        Raises:
            TrainingError: the loss, the weights or the monitored score are not finite, or memory runs out.
            RunError: a checkpoint that cannot be read, or processes that see different ones.
        """
        self.runtime.place(model, channels_last=self.config.channels_last)
        self.runtime.fresh_scaler()
        saved = self._resume(model)
        self.average = self._averaged(model, saved)
        data = mixed(data, self.recipe.mixing, self.runtime.device, seed, self.runtime.rank)
        freezer = Freezer(model)
        wrapped: Any = None
        optimizer: Any = None
        judged = self.average.network if self.average else model
        self.ending.begin(self.state)
        parts = {} if saved is None or self.state.epoch < self._total else saved
        images = sum(data.sizes) * self.runtime.world_size
        with self.progress.track(self.fold.path.name, images * (self._total - self.state.epoch)):
            while (epoch := self.state.epoch) < self._total:
                at = self.schedule.at(epoch, self.state.ended)
                if optimizer is None or at.epoch == 0:
                    if freezer.begin(at.phase) or wrapped is None:  # DDP listens to what moves when it wraps
                        wrapped = self.runtime.fabric.setup_module(model, move_to_device=False)
                    optimizer = self._begin_phase(model, at, saved)
                    saved = None
                seed_all(hash((seed, epoch, self.runtime.rank)))
                self.progress.describe(f"{self.fold.path.name} {at.name} {epoch + 1}/{self._total}")
                scores = self._train_epoch(wrapped, optimizer, data, at)
                self._refuse_broken(model, judged, at)
                found = data.validate(judged)
                scores |= {f"val_{name}": value for name, value in found.items()}
                self._count(at, scores, scored=bool(found))
                self.ending.epoch_done(self.state, at)
                parts = self._parts(model, optimizer)
                self.group.on_main(self._keep, judged, at, scores, parts)
                self.state.agree_on_kept(self.group)
        scored = self.state.best_epoch is not None
        if scored and self.config.keep == "average" and self.state.average_digest is None:
            self._average_epochs(model, data, seed, parts)
        keeps_last = self.config.keep == "last" or not scored
        self.group.on_main(self.keeper.finish, self.state, judged if keeps_last else None)
        return self.state

    @property
    def _total(self) -> int:
        return self.schedule.total(self.state.ended)

    def _resume(self, model: nn.Module) -> dict[str, Any] | None:
        """Go on from the checkpoint, if any, which must be the same on every process."""
        found = self.keeper.resume()
        self.group.require_equal(f"{self.fold.path}, finished epochs", found[0].epoch if found else 0)
        if found is None:
            self.state.precision = self.runtime.precision
            return None
        self.state, saved = found
        with fitting(self.fold.last):
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
            with fitting(self.fold.last):
                average.load_state_dict(saved["average"])
        return average

    def _begin_phase(self, model: nn.Module, at: Position, saved: dict[str, Any] | None) -> Any:
        """The optimizer for the phase, with its state where a checkpoint lies inside the phase."""
        if at.epoch == 0 and at.phase.start_from == "best":
            self._load_best(model)
        fused = self.runtime.fuses(clips=self.config.clip_grad_norm is not None)
        plain = build_optimizer(model, self.recipe.optim, at.phase.lr, fused=fused)
        optimizer: Any = self.runtime.fabric.setup_optimizers(plain)
        if saved is not None:
            with fitting(self.fold.last):
                restore_precision(self.runtime, saved["precision"])
                if at.epoch > 0:
                    optimizer.load_state_dict(saved["optimizer"])
        return optimizer

    def _load_best(self, model: nn.Module) -> None:
        """Load the best weights so far; without scores the last ones stand for them, averaged where they are."""
        if self.state.best_score is not None:
            self.keeper.load_best(self.state, model)
        elif self.average:
            model.load_state_dict(self.average.network.state_dict())
        if self.average:
            self.average.restart()

    def _train_epoch(self, model: nn.Module, optimizer: Any, data: FoldData, at: Position) -> dict[str, float]:
        model.train()
        hold_norms(model, at.phase)
        loss = Objective(build_loss(at.phase.terms()), self.recipe.heads).to(self.runtime.device)
        where = f"{self.fold.path}, epoch {self.state.epoch + 1} ({at.name})"
        meter = LossMeter(self.runtime.device, where, self.fold.broken_batch(self.runtime.rank))
        before = self.state.step
        history = self.state.history[len(self.state.history) - at.epoch :]
        began = time.perf_counter()
        lr = 0.0
        for index, batch in enumerate(data.batches(self.state.epoch, at.sampling)):
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
        shown = {} if at.sampling is None else {"empty_share": at.sampling}
        speed = images / (time.perf_counter() - began)
        peak = Memory.of(self.runtime.device).peak / 2**20
        return {**means, "lr": lr, **scaled_rates(optimizer), **shown, "images_per_s": speed, "memory_mib": peak}

    def _forward_backward(
        self, model: nn.Module, loss: Objective, batch: TrainBatch, meter: LossMeter, micro: Micro
    ) -> None:
        images, targets = placed(batch, self.config, self.runtime)
        fabric = self.runtime.fabric
        with fabric.no_backward_sync(model, enabled=not micro.updates):
            total, terms = loss(model(images), targets)
            meter.add(total, terms, batch)
            fabric.backward(total * micro.share)

    def _update(self, model: nn.Module, optimizer: Any) -> None:
        if update(model, optimizer, self.config, self.runtime):
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

    def _count(self, at: Position, scores: dict[str, float], *, scored: bool) -> None:
        """Advance the state by an epoch."""
        state, name = self.state, f"val_{self.config.monitor}"
        if not scored:
            state.epoch += 1
            return
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

    def _average_epochs(self, model: nn.Module, data: FoldData, seed: int, parts: dict[str, Any]) -> None:
        """Make the average of the kept epochs, score it and keep it; its statistics are of the last epoch's images."""
        state, last = self.state, self.schedule.at(self.state.epoch - 1, self.state.ended)
        seed_all(hash((seed, state.epoch, self.runtime.rank)))
        weights, batches = self.keeper.kept_weights(state), data.batches(state.epoch - 1, last.sampling)
        soup = cook(model, weights, last.phase, batches, self.runtime)
        self._refuse_broken(soup, soup, last)
        score = data.validate(soup)[self.config.monitor]
        if not math.isfinite(score):
            raise TrainingError(f"{self.fold.path}: val_{self.config.monitor} of the average is {score}.")
        state.average_score = score
        self.group.on_main(self.keeper.keep_average, state, soup, parts)
        state.agree_on_kept(self.group)
        text = "%s: the average of epochs %s has val_%s %.4f; the best epoch, %d, had %.4f"
        named = ", ".join(map(str, state.average_epochs))
        log.info(text, self.fold.path, named, self.config.monitor, score, state.best_epoch, state.best_score)

    def _keep(self, judged: nn.Module, at: Position, scores: dict[str, float], parts: dict[str, Any]) -> None:
        """Write what the epoch has brought; the checkpoint comes last."""
        state = self.state
        if state.best_epoch == state.epoch:
            self.keeper.keep_best(state, judged)
        scores_of_phase = state.history[len(state.history) - at.epoch - 1 :]
        self.keeper.keep_for_average(state, chosen(scores_of_phase, state.epoch - at.epoch, self.config), judged)
        cycle = ends_cycle(at.phase, at.epoch)
        if cycle is not None:
            self.keeper.keep_snapshot(at.name, cycle, judged)
        self.epoch_log.log(state.epoch, at.name, scores)
        self.keeper.checkpoint(state, parts)
