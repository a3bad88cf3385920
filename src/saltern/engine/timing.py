"""What an epoch will take, from a few steps on a copy of the network, before training begins."""

import time
from collections.abc import Iterable
from copy import deepcopy
from itertools import islice

import torch
from torch import nn

from saltern.engine.ending import HOUR
from saltern.engine.fold_data import FoldData
from saltern.engine.freezing import Freezer, hold_norms
from saltern.engine.meter import TrainBatch
from saltern.engine.objective import Objective
from saltern.engine.optim import build_optimizer
from saltern.engine.recipe import Recipe
from saltern.engine.step import placed, plain_step
from saltern.errors import ConfigError
from saltern.losses import Schedule, build_loss
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, enough_memory

STEPS = 3
"""Batches that are timed, after one that is not: the first pays for what is only done once."""


def require_an_epoch(network: nn.Module, data: FoldData, recipe: Recipe, runtime: Runtime) -> None:
    """Refuse a `trainer.max_hours` that an epoch of training does not fit into, validation not counted.

    The main process's time counts, so that all processes answer alike. `network` stays as it is, and so do all random
    numbers.

    Raises:
        ConfigError: names both times.
    """
    hours = recipe.trainer.max_hours
    if hours is None:
        return
    needed = runtime.group.agree(seconds_per_epoch(network, data, recipe, runtime)) / HOUR
    if needed > hours:
        raise ConfigError(
            f"trainer.max_hours={hours:g}: an epoch of training takes about {needed:.3g} hours here, as its first "
            f"steps show, so not one fits. Expected more hours, or null; smaller or fewer images "
            "(dataset.resize, dataset.train_crop) or a smaller model make an epoch shorter."
        )


def seconds_per_epoch(network: nn.Module, data: FoldData, recipe: Recipe, runtime: Runtime) -> float:
    """Seconds that the batches of an epoch take on this process: making them, and forward, backward and step.

    A copy of `network`, which lies on the device, is trained on the first batches as the first phase trains it, though
    never compiled; what they take for each image stands for all images. One batch alone is timed as it is.
    """
    phase = next(iter(recipe.schedule.phases.values()))
    trial = deepcopy(network).train()
    Freezer(trial).begin(phase)
    hold_norms(trial, phase)
    loss = Objective(build_loss(phase.terms()), recipe.heads).to(runtime.device)
    optimizer = build_optimizer(trial, recipe.optim, phase.lr)
    seconds, images = [], []
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        batches = iter(data.batches(0, Schedule(recipe.schedule).at(0).sampling))
        began = time.perf_counter()
        for batch in islice(batches, STEPS + 1):
            with enough_memory(TRAINING, runtime.device, "the first steps, for trainer.max_hours", batch.images.shape):
                plain_step(trial, loss, optimizer, placed(batch, recipe.trainer, runtime), runtime).item()
            now = time.perf_counter()
            seconds.append(now - began)
            images.append(len(batch.images))
            began = now
        _close(batches)
    measured = slice(1, None) if len(seconds) > 1 else slice(None)
    return sum(seconds[measured]) / sum(images[measured]) * sum(data.sizes)


def _close(batches: Iterable[TrainBatch]) -> None:
    """End the thread that makes the next batch."""
    close = getattr(batches, "close", None)
    if close is not None:
        close()
