"""The stages in order, one function each, named as the make targets and the artifacts are."""

import logging
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from saltern import runtime
from saltern.config import RunConfig, contradictions, freeze, refuse_contradictions, thaw
from saltern.data.dataset import Dataset
from saltern.data.folds import assign_folds, fold_numbers, load_folds, save_folds, select_fold
from saltern.data.layouts import open_dataset
from saltern.engine.trainer import Trainer
from saltern.errors import RunError
from saltern.losses import Schedule
from saltern.models import build_model
from saltern.progress import Progress
from saltern.runs import RunDir, write_json, write_text

log = logging.getLogger(__name__)


@dataclass
class Job:
    """A run that is worked on: its config and folder, and what is opened at most once."""

    config: RunConfig
    progress: Progress = field(default_factory=Progress)
    overrides: list[str] = field(default_factory=list)
    """The command line's, recorded when the run begins."""

    @cached_property
    def run(self) -> RunDir:
        """The run folder."""
        return RunDir.of(self.config.outputs, self.config.name)

    @cached_property
    def runtime(self) -> runtime.Runtime:
        """Device, precision, ranks."""
        return runtime.start(self.config.trainer)

    @cached_property
    def dataset(self) -> Dataset:
        """The checked data set."""
        return open_dataset(self.config.dataset)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """The run's split: id, fold."""
        return load_folds(self.run.folds, self.dataset.train)


def train(job: Job, *, finish: bool = True) -> None:
    """Every stage: folds, training, and with `finish` tune, predict, submit, report.

    Folds that are trained already are kept. Later stages are run again where they do not cover all trained folds.
    """
    job.runtime  # noqa: B018 (starts the other ranks, where there are several)
    if job.runtime.is_main:
        begin_run(job)
        make_folds(job)
    job.runtime.barrier()
    asked = job.config.trainer.folds
    for number in fold_numbers(job.folds) if asked is None else asked:
        train_fold(job, number)
    if not job.runtime.is_main or not finish:
        return
    if is_finished(job.run):
        log.info("%s is finished; overwrite=true would begin it anew", job.run.path)
        return
    tune_decision(job)
    if len(job.dataset.test):
        predict_test(job)
        write_submission(job)
    else:
        log.warning("%s has no test images: no test probabilities and no submission", job.dataset.root)
    write_report(job)


def begin_run(job: Job) -> None:
    """Freeze the config in a new run folder, or make sure that the folder was begun with the same one.

    Raises:
        ConfigError: the folder holds a run with other settings.
        RunError: the folder holds something that is no run.
    """
    run = job.run
    if run.config.exists() and job.config.overwrite:
        log.warning("%s: overwrite=true, the run is deleted and begun anew", run.path)
        run.clear()
    if run.config.exists():
        refuse_contradictions(run.config, contradictions(thaw(run.config), job.config))
        return
    if run.path.exists() and any(run.path.iterdir()):
        raise RunError(f"{run.path}: holds files but no config.yaml, so it is no run. Choose another name=…")
    write_json(run.environment, {**runtime.environment(), "overrides": job.overrides})
    write_text(run.config, freeze(job.config))


def make_folds(job: Job) -> pd.DataFrame:
    """The run's split (id, fold): the one in its folder, or a new one, saved there."""
    if not job.run.folds.exists():
        save_folds(job.run.folds, assign_folds(job.dataset.train, job.config.folds))
    return job.folds


def train_fold(job: Job, number: int) -> None:
    """Train fold `number` and store the out-of-fold probabilities of its validation images."""
    fold = job.run.fold(number)
    split = select_fold(job.folds, number)
    if fold.done.exists():
        log.info("%s: trained already", fold.path)
        return
    config = job.config
    seed = config.seed * 10_007 + number
    runtime.seed_all(seed)
    network = build_model(config.model, pretrained=not fold.last.exists())
    data = _fold_data(job, split, network.stride, seed)
    trainer = Trainer(
        job.runtime,
        Schedule(config.schedule),
        config.trainer,
        config.optim,
        fold,
        open_log(fold, enabled=job.runtime.is_main),
        job.progress,
    )
    state = trainer.fit(network, data, seed)
    _store_probs(job, _predictor(job, [fold]), job.dataset.train, split.val, job.run.oof, f"fold_{number}")
    if job.runtime.is_main:
        report = network.weights_report
        write_json(
            fold.done,
            {
                "monitor": config.trainer.monitor,
                "best": state.best_score,
                "best_epoch": state.best_epoch,
                "phase_best": state.phase_best,
                "precision": job.runtime.precision,
                "encoder_weights": None if report is None else vars(report),
            },
        )
    job.runtime.barrier()
