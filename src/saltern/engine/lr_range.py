"""The learning-rate range test: what a growing rate does to the loss, and the rate that this speaks for."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from torch import nn

from saltern.config import PhaseConfig
from saltern.engine.freezing import Freezer, hold_norms
from saltern.engine.meter import TrainBatch
from saltern.engine.objective import Objective
from saltern.engine.optim import build_optimizer, set_lr
from saltern.engine.recipe import Recipe
from saltern.engine.step import placed, update
from saltern.errors import TrainingError
from saltern.losses import build_loss
from saltern.progress import Progress
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, enough_memory

BETA = 0.9
"""Share of the past in the mean that tells whether the loss has diverged."""
DIVERGED = 4.0
"""Times the lowest such mean."""
FEWEST = 10
"""Steps of which a curve is made."""
BELOW = 10.0
"""The rate keeps this factor below the one at which the loss diverged."""


@dataclass(frozen=True)
class RangeTest:
    """Rates, each the next step's, and the loss before that step."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    diverged_at: float | None
    """The rate after whose step the loss had diverged; None where it never did."""

    @property
    def _window(self) -> int:
        """Steps that are looked at together: a sixth of them, odd."""
        return max(3, len(self.rates) // 6 | 1)

    @cached_property
    def smoothed(self) -> NDArray[np.float64]:
        """The losses, each by the straight line that fits its neighbours best: it lags behind in no direction."""
        return np.asarray(savgol_filter(self.losses, self._window, polyorder=1))

    @cached_property
    def suggestion(self) -> float | None:
        """The rate at which the smoothed loss falls most steeply by the logarithm of the rate, before its lowest point.

        That is fastai's `steep`. It is never more than a BELOW-th of the rate at which the loss diverged, as
        fastai's `minimum` is a tenth of the rate at the lowest point. None where the loss does not fall.
        """
        slopes = savgol_filter(self.losses, self._window, polyorder=1, deriv=1)
        falling = slopes[: int(np.argmin(self.smoothed)) + 1]
        steepest = int(np.argmin(falling))
        if falling[steepest] >= 0:
            return None
        most = math.inf if self.diverged_at is None else self.diverged_at / BELOW
        return min(float(self.rates[steepest]), most)


def growing_rates(low: float, high: float, steps: int) -> NDArray[np.float64]:
    """`steps` rates from `low` to `high`, each the same multiple of the one before."""
    return np.geomspace(low, high, steps)


def observe(rates: NDArray[np.float64], step: Callable[[float], float]) -> RangeTest:
    """Take a `step` (rate → the loss before it) at each of `rates`, until the loss has diverged or is not finite.

    Diverged means that the mean of the losses, of which the past fades by BETA, is more than DIVERGED times its lowest.

    Raises:
        TrainingError: it has within FEWEST steps.
    """
    losses: list[float] = []
    mean, lowest = 0.0, math.inf
    for number, rate in enumerate(rates):
        loss = step(float(rate))
        if not math.isfinite(loss):
            return _ended(rates[:number], losses, rates[max(0, number - 1)])
        losses.append(loss)
        mean = BETA * mean + (1 - BETA) * loss
        current = mean / (1 - BETA ** (number + 1))
        lowest = min(lowest, current)
        if current > DIVERGED * lowest:
            return _ended(rates[: number + 1], losses, rate)
    return RangeTest(rates, np.array(losses), None)


def _ended(rates: NDArray[np.float64], losses: list[float], rate: float) -> RangeTest:
    if len(losses) < FEWEST:
        raise TrainingError(
            f"the learning-rate range test: the loss has diverged at {rate:.2g}, after {len(losses)} steps. Begin "
            "with a smaller low=…"
        )
    return RangeTest(rates, np.array(losses), float(rate))


def range_test(
    network: nn.Module,
    batches: Callable[[int], Iterable[TrainBatch]],
    recipe: Recipe,
    phase: PhaseConfig,
    rates: NDArray[np.float64],
    *,
    runtime: Runtime,
    progress: Progress,
) -> RangeTest:
    """Train `network`, which is on its device and is spoilt by it, by `phase`'s loss at growing `rates`.

    Leslie N. Smith, Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3; the
    exponential growth within some hundred steps is fastai's.

    Raises:
        TrainingError: memory runs out, or the loss diverges at once.
    """
    runtime.fresh_scaler()
    stepper = _Stepper(network, _endless(batches), recipe, phase, runtime)

    def step(rate: float) -> float:
        before = stepper.images
        loss = stepper(rate)
        progress.advance(stepper.images - before, loss=loss)
        return loss

    with progress.track("learning-rate range", len(rates) * recipe.trainer.accumulate * recipe.trainer.batch_size):
        return observe(rates, step)


def _endless(batches: Callable[[int], Iterable[TrainBatch]]) -> Iterator[TrainBatch]:
    for epoch in count():
        yield from batches(epoch)


class _Stepper:
    """Optimizer steps as the trainer makes them, each of `accumulate` batches."""

    def __init__(
        self, network: nn.Module, batches: Iterator[TrainBatch], recipe: Recipe, phase: PhaseConfig, runtime: Runtime
    ) -> None:
        self._runtime, self._batches, self._config, self._phase = runtime, batches, recipe.trainer, phase
        self.images = 0
        """Images that were seen."""
        self._loss = Objective(build_loss(phase.terms()), recipe.heads).to(runtime.device)
        fused = runtime.fuses(clips=recipe.trainer.clip_grad_norm is not None)
        fabric = runtime.fabric
        Freezer(network).begin(phase)
        self._network: Any = fabric.setup_module(network.train(), move_to_device=False)
        self._optimizer: Any = fabric.setup_optimizers(build_optimizer(network, recipe.optim, phase.lr, fused=fused))

    def __call__(self, rate: float) -> float:
        """One step at `rate`; the mean loss of its batches before it."""
        set_lr(self._optimizer, rate)
        hold_norms(self._network, self._phase)
        total = sum(self._backward(next(self._batches)) for _ in range(self._config.accumulate))
        update(self._network, self._optimizer, self._config, self._runtime)
        return total / self._config.accumulate

    def _backward(self, batch: TrainBatch) -> float:
        with enough_memory(TRAINING, self._runtime.device, "the learning-rate range test", batch.images.shape):
            images, targets = placed(batch, self._config, self._runtime)
            total, _ = self._loss(self._network(images), targets)
            self._runtime.fabric.backward(total / self._config.accumulate)
        self.images += len(batch.images)
        return float(total.detach())
