"""What a run will do, tried before anything rests on its config."""

import logging

import numpy as np
import pandas as pd

from saltern.config import ALL_IMAGES, ConfigError, parse_view
from saltern.data.folds.assign import fold_numbers, select_fold
from saltern.data.loading.sampling import require_kinds
from saltern.engine.freezing import refuse_still_phases
from saltern.engine.soundness import freeze_idle
from saltern.errors import DataError
from saltern.inference.tta import TURNING
from saltern.job import Job
from saltern.models import SegmentationNet, build_model
from saltern.models.checkpointing import checkpoint_blocks
from saltern.runs.folder import FoldName

log = logging.getLogger(__name__)

SEEDS = 10_007
"""Seeds of a run: one for each of its folds, and the last one for the network of all images."""


def rehearse(job: Job) -> None:
    """Build all that the config names: network, weights, batches; and take one step on trial.

    Raises:
        ConfigError: something cannot be built, or not be trained as asked.
        DataError: images that make no batches.
    """
    config, material = job.config, job.material
    if len(material.labelled) < 2:
        raise DataError(
            f"{material.dataset.root}: {len(material.labelled)} labelled image, which cannot be divided into folds. A "
            "network is trained on some images and scored on others: label more."
        )
    network = build_model(config.model)
    material.train_batches(list(range(len(material.labelled))), job.loading, network.stride, config.seed)
    if network.sizes.only is not None:
        refuse_sizes(network, material.seen_sizes(network.stride), config.inference.views)
    refuse_still_phases(placed(job, network), config.schedule)
    first, phase = next(iter(config.schedule.phases.items()))
    random = getattr(config.model, "encoder_weights", None) is None
    if random and (phase.freeze_encoder or phase.freeze_batchnorm):
        log.warning("schedule.phases.%s freezes what is random: model.encoder_weights is null", first)


def refuse_sizes(network: SegmentationNet, seen: set[tuple[int, int]], views: list[str]) -> None:
    """Raise a ConfigError where a network of one size would come to see another, as it is or by a view."""
    scaled = [view for view in views if parse_view(view)[1] != 1]
    if scaled:
        raise ConfigError(
            f"inference.views={views}: {scaled[0]} shows images in another size, and {network.name} takes the one size "
            f"alone. Leave out {', '.join(scaled)}."
        )
    for height, width in sorted(seen):
        network.refuse((height, width))
        turning = [view for view in views if parse_view(view)[0] in TURNING]
        if turning and height != width:
            raise ConfigError(
                f"inference.views={views}: {turning[0]} turns images of {height} x {width} into {width} x {height}, "
                f"and {network.name} takes the one size alone. Leave out {', '.join(turning)}, or take a square size."
            )


def fold_seed(job: Job, number: FoldName) -> int:
    """The seed of a fold's training, or of the network of all images."""
    return job.config.seed * SEEDS + (SEEDS - 1 if number == ALL_IMAGES else int(number))


def fresh_network(job: Job, *, pretrained: bool = True) -> SegmentationNet:
    """A network of the run on its device, as its training begins with it."""
    return placed(job, build_model(job.config.model, pretrained=pretrained))


def placed(job: Job, network: SegmentationNet) -> SegmentationNet:
    """The network on its device, with what its output does not depend on frozen, and checkpoints where asked for."""
    if job.config.trainer.checkpointing:
        blocks = checkpoint_blocks(network.net, network.name)
        log.info("%d blocks keep their input alone and are computed twice, such as %s", len(blocks), blocks[0])
    placed: SegmentationNet = job.runtime.place(network, channels_last=job.config.trainer.channels_last)
    idle = freeze_idle(placed, job.material.train_size(network.stride), job.runtime)
    if idle:
        log.info("%d parameters have no effect on the output and stay as they are, such as %s", len(idle), idle[0])
    return placed


def require_sampling(job: Job, folds: pd.DataFrame) -> None:
    """Raise a DataError where the training images of a fold cannot give a phase's share of empty ones."""
    for number in fold_numbers(folds):
        coverage = np.array([job.material.coverage[name] for name in select_fold(folds, number).train])
        for name, phase in job.config.schedule.phases.items():
            shown = f"fold {number}: schedule.phases.{name}.sampling={phase.sampling}"
            require_kinds(coverage == 0, phase.shares() or (), shown)
