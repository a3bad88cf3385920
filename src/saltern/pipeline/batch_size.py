"""`trainer.batch_size=auto`: a number is put in its place before anything reads it or is frozen."""

import logging
from collections.abc import Callable

import pandas as pd

from saltern.config import AUTO
from saltern.data.folds.assign import assign_folds
from saltern.engine.batch_size import BatchSize, find_batch_size
from saltern.engine.recipe import Recipe
from saltern.job import Job
from saltern.models import SegmentationNet

log = logging.getLogger(__name__)

STEPS = 10
"""Optimizer steps that an epoch must have: averages, momentum and the learning-rate curve need some."""


def settle_batch_size(job: Job, build: Callable[[], SegmentationNet]) -> None:
    """Put the number of the run that goes on in place of `auto`, or find one; all processes must call.

    To be called while the run is held, before its config is frozen. `build` gives a network on its device.

    Raises:
        TrainingError: not even two images fit.
    """
    if job.config.trainer.batch_size != AUTO:
        return
    begun = job.life.continued() if job.runtime.group.is_main else None
    number = job.runtime.group.agree(begun.trainer.batch_size if begun else None)
    if number is None:
        number = found_batch_size(job, build())
    else:
        log.info("trainer.batch_size=auto: %d, as the run was begun with", number)
    job.config.trainer.batch_size = number


def found_batch_size(job: Job, network: SegmentationNet) -> int:
    """The largest batch size with which every process can train `network`, and that leaves an epoch STEPS steps."""
    trainer, group = job.config.trainer, job.runtime.group
    group.on_main(lambda: job.material.labelled)  # drawn, decoded and cached once
    if job.config.dataset.cache == "device":
        job.material.bring_to(job.runtime.device)  # or the batch takes the memory that they need
    images = _training_images(job)
    most = images // (STEPS * trainer.accumulate * job.runtime.world_size)
    found: BatchSize = find_batch_size(
        network, job.material.train_size(network.stride), Recipe.of(job.config), job.runtime, most
    )
    number = group.smallest(found.images)
    bound = found.bound if number == found.images else "the memory of another process"
    log.info("trainer.batch_size=auto: %d, bounded by %s (a fold has about %d images)", number, bound, images)
    if number > most:
        log.warning("trainer.batch_size=auto: an epoch has fewer than %d steps even so; the set is small", STEPS)
    return number


def _training_images(job: Job) -> int:
    """Training images of a fold, about: groups may make some larger."""
    table, folds = job.material.dataset.train, job.config.folds
    if folds.kind not in ("predefined", "file"):
        return len(table) * (folds.n - 1) // folds.n
    numbers: pd.Series = assign_folds(table, folds)["fold"]
    return len(table) - int(numbers[numbers >= 0].value_counts().max())
