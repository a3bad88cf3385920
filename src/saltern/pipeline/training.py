"""From a data set to trained folds: check, preview, folds, train."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saltern import runtime
from saltern.config import ALL_IMAGES, AUTO, ConfigError
from saltern.data.check import examine as data_check
from saltern.data.check.examine import DatasetReport
from saltern.data.folds.assign import FoldSplit, fold_numbers, save_folds, select_fold
from saltern.data.folds.division import Division, divide
from saltern.data.folds.membership import save_groups
from saltern.data.likeness.mosaics import mosaic_picture
from saltern.data.loading.batches import Batch, LoaderSettings
from saltern.data.loading.preview import contact_sheet
from saltern.data.source.dataset import samples_of
from saltern.engine.checkpoint import TrainState
from saltern.engine.compiling import compile_network
from saltern.engine.ending import best_epochs
from saltern.engine.fold_data import FoldData
from saltern.engine.keeper import Keeper
from saltern.engine.mixing import pixel_mixer
from saltern.engine.recipe import Recipe
from saltern.engine.timing import require_an_epoch
from saltern.engine.trainer import Trainer
from saltern.errors import DataError
from saltern.files import read_as, write_json
from saltern.inference.members import Images, Members
from saltern.job import Job
from saltern.losses import Schedule
from saltern.models import build_model
from saltern.models.weights import WeightsReport
from saltern.pipeline.all_images import all_facts, planned_lengths, warn_of_other_lengths
from saltern.pipeline.batch_size import settle_batch_size
from saltern.pipeline.estimating import images_of_leaderboard
from saltern.pipeline.finishing import finish_run
from saltern.pipeline.rehearsal import fold_seed, fresh_network, placed, rehearse, require_sampling
from saltern.pipeline.settled_mean import settle_mean
from saltern.pipeline.validation import Validation
from saltern.report.dataset_page import write_dataset_page
from saltern.report.pictures import write_picture
from saltern.report.tracking import EpochLog
from saltern.runs import FoldDir, RunDir
from saltern.runs.folder import FoldName

log = logging.getLogger(__name__)


def check_dataset(job: Job) -> DatasetReport:
    """Examine the data set: `dataset_report.json`, and a page with pictures of every suspect."""
    report, dataset = data_check.check_dataset(job.config.dataset, job.progress)
    write_json(job.run.dataset_report, report.as_dict())
    write_dataset_page(job.run.dataset_page, report, dataset)
    return report


def preview(job: Job) -> Path:
    """A contact sheet of training images as batches will hold them, with outlined masks.

    The images are spread evenly over the coverage of the foreground, beginning with the fullest. Where `augment.batch`
    mixes, each column is mixed as a batch.
    """
    table = job.material.dataset.train.sort_values("coverage", ascending=False)
    rows = table.index[np.linspace(0, len(table) - 1, min(8, len(table))).astype(int)].tolist()
    stride = build_model(job.config.model, pretrained=False).stride
    settings = LoaderSettings(stride=stride, batch_size=len(rows), seed=job.config.seed)
    mixer = pixel_mixer(job.config.augment.batch, job.config.seed)
    sheet = contact_sheet(job.material.labelled, rows, job.config.dataset, job.config.augment, settings, mix=mixer)
    folder = RunDir.of(Path(job.config.outputs) / "preview", job.config.name).path
    path = folder.with_name(f"{folder.name}.png")
    write_picture(path, sheet)
    return path


def make_folds(job: Job) -> pd.DataFrame:
    """The run's split (id, fold): the one in its folder, or a new one, saved there.

    Raises:
        ConfigError: a batch size that has to be found on several devices, where this is one process.
    """
    trainer = job.config.trainer
    if trainer.batch_size == AUTO and trainer.devices * trainer.nodes > 1:
        raise ConfigError(
            "trainer.batch_size=auto: is found on all devices together, by `make train`; `make folds` is one process. "
            "Begin the run by `make train`, or give a number."
        )
    with job.life.hold(wait=True):
        settle_batch_size(job, lambda: fresh_network(job, pretrained=False))
        settle_mean(job)
        job.life.begin({**runtime.environment(job.config.trainer), "overrides": job.overrides})
        return _divide(job)


def _divide(job: Job) -> pd.DataFrame:
    if not job.life.is_divided():
        division = divide(job.material.dataset, job.config.folds, job.progress)
        for warning in division.report.warnings():
            log.warning("folds: %s", warning)
        require_sampling(job, division.folds)
        write_json(job.run.folds_report, division.report.as_dict())
        _draw_mosaics(job, division)
        save_groups(job.run.groups, division.groups)
        save_folds(job.run.folds, division.folds)
        job.life.close_folds()
    return job.folds


def _draw_mosaics(job: Job, division: Division) -> None:
    """For folds by adjacency: the largest mosaics, assembled, to see whether their seams continue."""
    if division.mosaics is None or division.tiles is None:
        return
    tiles = samples_of(division.tiles)
    picture = mosaic_picture(division.mosaics, lambda tile: job.material.dataset.read_image(tiles[tile]))
    if picture is not None:
        write_picture(job.run.mosaics, picture)


def train(job: Job, *, finish: bool = True) -> None:
    """Every stage: folds, training, and with `finish` tune, predict, submit, report.

    Folds that are trained already are kept; the later stages are done again where what they rest on has changed.
    """
    with job.runtime.group.together():
        with job.held(wait=True):
            settle_batch_size(job, lambda: fresh_network(job, pretrained=False))
            settle_mean(job)
            job.runtime.group.on_main(_begin, job)
        job.life.refuse_ensemble("train")
        asked = job.config.trainer.folds
        numbers = fold_numbers(job.folds) if asked is None else asked
        for number in numbers:
            _split(job, number)  # before the first is trained
        for number in numbers:
            train_fold(job, number)
        if finish:
            finish_run(job, again=False)


def _begin(job: Job) -> None:
    """Begin the run and divide its images, once everything that its config names has been built on trial.

    Until there are folds, a mistake in the config can be mended under the same name.
    """
    job.life.begin({**runtime.environment(job.config.trainer), "overrides": job.overrides})
    if not job.run.folds.exists():
        images_of_leaderboard(job)  # a public part that is too large is refused now
        rehearse(job)
    _divide(job)


def _split(job: Job, number: FoldName) -> FoldSplit:
    """The images of a fold, of which some to train on must hold foreground.

    Raises:
        DataError: none does, or there is no such fold.
    """
    split = select_fold(job.folds, number)
    if not any(job.material.coverage[name] > 0 for name in split.train):
        raise DataError(
            f"fold {number}: none of its {len(split.train)} training images has foreground, so there is nothing to "
            "learn. `make check` shows what the masks hold; other folds (folds=stratified) spread those that have some."
        )
    return split


def train_fold(job: Job, number: FoldName) -> None:
    """Train fold `number` from fresh weights and store the probabilities of its validation images.

    ALL_IMAGES in place of a number: train on every image, for the epochs that the folds found best; none is stored.
    """
    group, fold = job.runtime.group, job.run.fold(number)
    split = _split(job, number)
    with job.held(number) as holds:
        if group.agree(group.is_main and job.life.fold_is_done(number)):
            log.info("%s is trained already", fold.path)
            if number == ALL_IMAGES:
                group.on_main(warn_of_other_lengths, job)
            return
        if number == ALL_IMAGES:
            lengths = group.agree(planned_lengths(job) if group.is_main else None)
            state = _trained(job, Keeper(fold, holds), split, lengths)
            facts, files = all_facts(job, state, len(split.train), lengths), [*fold.weights(), fold.last_weights]
        else:
            state = _trained(job, Keeper(fold, holds), split, {})
            facts, files = _facts(job, fold, state), [*fold.weights(), fold.best, *_stored(job, fold, split)]
            files += [fold.val_counts] if fold.val_counts.exists() else []  # not where an earlier version trained
        group.on_main(job.life.close_fold, number, files, facts)


def _stored(job: Job, fold: FoldDir, split: FoldSplit) -> list[Path]:
    """The shards of the probabilities of a fold's validation images, written now."""
    members = Members(job.runtime, job.config, fold.weights())
    images = Images(job.material, job.material.labelled, job.material.rows(split.val), job.loading)
    return members.store(images, job.run.oof / f"{fold.path.name}_", job.progress)


def _trained(job: Job, keeper: Keeper, split: FoldSplit, lengths: dict[str, int]) -> TrainState:
    """Train to the schedule's end, from fresh weights or from where a checkpoint stands.

    `lengths`: phase → the epochs it takes, where these are not those of the schedule.
    """
    config, fold = job.config, keeper.fold
    seed = fold_seed(job, split.number)
    runtime.seed_all(seed)
    begun = job.runtime.group.agree(fold.last.exists() or fold.previous.exists())
    network = build_model(config.model, pretrained=not begun)
    if network.weights_report is not None:
        job.runtime.group.on_main(write_json, fold.encoder_weights, vars(network.weights_report))
    network = placed(job, network)
    if config.trainer.compile:
        compile_network(network, job.material.train_size(network.stride), config.trainer, job.runtime)
    recipe = Recipe.of(config, lengths)
    with EpochLog(fold) as epoch_log:
        validation = Validation(job, fold, split.val, network.stride, epoch_log)
        data = _fold_data(job, split, network.stride, seed, validation)
        if not begun:
            require_an_epoch(network, data, recipe, job.runtime)
        trainer = Trainer(job.runtime, recipe, keeper, validation, job.progress)
        return trainer.fit(network, data, seed)


def _fold_data(job: Job, split: FoldSplit, stride: int, seed: int, validation: Validation) -> FoldData:
    """What the trainer reads: batches by epoch, and the scores of a network on the validation images, if any."""
    loader = job.material.train_batches(job.material.rows(split.train), job.loading, stride, seed)

    def batches(epoch: int, sampling: float | None) -> Iterator[Batch]:
        loader.set_epoch(epoch, sampling)
        return iter(loader)

    return FoldData(batches, loader.sizes, validation)


def _facts(job: Job, fold: FoldDir, state: TrainState) -> dict[str, Any]:
    """What `done.json` tells about the training."""
    lengths = Schedule(job.config.schedule).lengths(state.ended)
    return {
        "monitor": job.config.trainer.monitor,
        "best": state.best_score,
        "best_epoch": state.best_epoch,
        "phase_best": state.phase_best,
        "phase_best_epoch": best_epochs(lengths, state.history),
        "phase_epochs": lengths,
        "ended": state.ended_by or "schedule",
        "precision": job.runtime.precision,
        "keep": job.config.trainer.keep,
        "average_score": state.average_score,
        "average_epochs": state.average_epochs,
        "encoder_weights": vars(read_as(fold.encoder_weights, WeightsReport))
        if fold.encoder_weights.exists()
        else None,
    }
