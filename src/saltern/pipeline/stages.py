"""The stages of one run in order, one function each."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from saltern import runtime
from saltern.config import VocConfig
from saltern.data.check import examine as data_check
from saltern.data.check.examine import DatasetReport
from saltern.data.folds.assign import fold_numbers, save_folds, select_fold
from saltern.data.folds.division import Division, divide
from saltern.data.likeness.adjacency import mosaic_picture
from saltern.data.loading.batches import LoaderSettings
from saltern.data.loading.cache import open_source
from saltern.data.loading.preview import contact_sheet
from saltern.data.source.dataset import samples_of
from saltern.engine.trainer import Trainer
from saltern.errors import RunError
from saltern.files import atomic, read_json, write_json
from saltern.inference import tune as tuning
from saltern.inference.decide import decide, read_decision, write_decision
from saltern.inference.estimate import score_table, scores_json
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.losses import Schedule
from saltern.models import build_model
from saltern.report.dataset_page import write_dataset_page
from saltern.report.pictures import Load, Sample, write_picture
from saltern.report.run_page import write_report as write_page
from saltern.report.tracking import EpochLog
from saltern.runs import RunDir
from saltern.submission import table as submission
from saltern.submission.table import SubmissionProof
from saltern.submission.voc import write_voc_results

log = logging.getLogger(__name__)


def train(job: Job, *, finish: bool = True) -> None:
    """Every stage: folds, training, and with `finish` tune, predict, submit, report.

    Folds that are trained already are kept; the later stages are run again where they do not cover all of these.
    """
    job.runtime.on_main(lambda: _begin_training(job))
    job.refuse_ensemble("train")
    asked = job.config.trainer.folds
    numbers = fold_numbers(job.folds) if asked is None else asked
    for number in numbers:
        select_fold(job.folds, number)  # before the first is trained
    for number in numbers:
        train_fold(job, number)
    if not finish:
        return
    if job.runtime.agree(job.run.is_finished(with_test=len(job.dataset.test) > 0)):
        log.info("%s is finished already; overwrite=true begins it anew", job.run.path)
        return
    finish_run(job)


def _begin_training(job: Job) -> None:
    """Begin the run and divide its images, once everything that its config names has been built on trial.

    Until there are folds, a mistake in the config can be mended under the same name.
    """
    job.begin()
    if not job.run.folds.exists():
        network = build_model(job.config.model)
        job.train_batches(list(range(len(job.labelled))), network.stride, job.config.seed)
    _divide(job)


def finish_run(job: Job) -> None:
    """Tune, predict what is not predicted yet, submit, report; on several ranks they predict together."""
    job.runtime.on_main(lambda: tune_decision(job))
    if not len(job.dataset.test):
        log.warning("%s has no test images: no test probabilities, no submission", job.dataset.root)
    elif job.runtime.agree(job.run.predicted_folds() != job.trained_folds):
        predict_test(job)
    job.runtime.on_main(lambda: _write_results(job))


def _write_results(job: Job) -> None:
    if len(job.dataset.test):
        write_submission(job)
    write_report(job)


def check_dataset(job: Job) -> DatasetReport:
    """Examine the data set: `dataset_report.json`, and a page with pictures of every suspect."""
    report, dataset = data_check.check_dataset(job.config.dataset, job.progress)
    write_json(job.run.dataset_report, report.as_dict())
    write_dataset_page(job.run.dataset_page, report, dataset)
    return report


def make_folds(job: Job) -> pd.DataFrame:
    """The run's split (id, fold): the one in its folder, or a new one, saved there."""
    job.begin()
    return _divide(job)


def _divide(job: Job) -> pd.DataFrame:
    if not job.run.folds.exists():
        division = divide(job.dataset, job.config.folds, job.progress)
        for warning in division.report.warnings():
            log.warning("folds: %s", warning)
        write_json(job.run.folds_report, division.report.as_dict())
        _draw_mosaics(job, division)
        save_folds(job.run.folds, division.folds)
    return job.folds


def _draw_mosaics(job: Job, division: Division) -> None:
    """For folds by adjacency: the largest mosaics, assembled, to see whether their seams continue."""
    if division.mosaics is None or division.tiles is None:
        return
    tiles = samples_of(division.tiles)
    picture = mosaic_picture(division.mosaics, lambda tile: job.dataset.read_image(tiles[tile]))
    if picture is not None:
        write_picture(job.run.mosaics, picture)


def preview(job: Job) -> Path:
    """A contact sheet of training images as batches will hold them, with outlined masks.

    The images are spread evenly over the coverage of the foreground, beginning with the fullest.
    """
    table = job.dataset.train.sort_values("coverage", ascending=False)
    rows = table.index[np.linspace(0, len(table) - 1, min(8, len(table))).astype(int)].tolist()
    stride = build_model(job.config.model, pretrained=False).stride
    settings = LoaderSettings(stride=stride, batch_size=job.config.trainer.batch_size, seed=job.config.seed)
    sheet = contact_sheet(job.labelled, rows, job.config.dataset, job.config.augment, settings)
    folder = RunDir.of(Path(job.config.outputs) / "preview", job.config.name).path
    path = folder.with_name(f"{folder.name}.png")
    write_picture(path, sheet)
    return path


def train_fold(job: Job, number: int) -> None:
    """Train fold `number` from fresh weights and store the probabilities of its validation images."""
    fold, config = job.run.fold(number), job.config
    split = select_fold(job.folds, number)
    if fold.done.exists():
        log.info("%s is trained already", fold.path)
        return
    seed = config.seed * 10_007 + number
    runtime.seed_all(seed)
    network = build_model(config.model, pretrained=not fold.last.exists())
    if network.weights_report is not None and job.runtime.is_main:
        write_json(fold.encoder_weights, vars(network.weights_report))
    data = job.fold_data(split, network.stride, seed)
    with EpochLog(fold) as epoch_log:
        schedule = Schedule(config.schedule)
        trainer = Trainer(job.runtime, schedule, config.trainer, config.optim, fold, epoch_log, job.progress)
        state = trainer.fit(network, data, seed)
    rows = [job.row_of[name] for name in split.val]
    job.store_probs([fold], job.labelled, rows, job.run.oof / f"fold_{number}_")
    if job.runtime.is_main:
        write_json(
            fold.done,
            {
                "monitor": config.trainer.monitor,
                "best": state.best_score,
                "best_epoch": state.best_epoch,
                "phase_best": state.phase_best,
                "precision": job.runtime.precision,
                "encoder_weights": read_json(fold.encoder_weights) if fold.encoder_weights.exists() else None,
            },
        )
    job.runtime.barrier()


def tune_decision(job: Job) -> None:
    """Tune the decision on the out-of-fold probabilities of all trained folds; score it per fold, pooled, nested.

    A submission and a report that rest on an older decision are removed.
    """
    run, config = job.run, job.config.inference
    folds = job.trained_folds
    fold_of = {name: int(fold) for name, fold in zip(job.folds["id"], job.folds["fold"], strict=True) if fold in folds}
    store = ProbStore(run.oof)

    def samples() -> Iterator[tuning.Sample]:
        with job.progress.track("tune", len(fold_of)):
            for name in store:
                if name in fold_of:
                    yield name, store[name], job.truth_of(name)
                    job.progress.advance(1)

    statistics = tuning.collect(samples(), config.thresholds)
    missing = sorted(set(fold_of) - set(statistics.ids))
    if missing:
        raise RunError(
            f"{run.oof}: no probabilities for {len(missing)} images, such as {missing[0]}; "
            "delete the fold_*/done.json and run `make train` again."
        )
    decision = tuning.tune(statistics, config).decision
    write_decision(run.decision, decision)
    with atomic(run.oof_scores) as temporary:
        score_table(statistics, fold_of, decision).to_csv(temporary, index=False)
    training = {str(fold): read_json(run.fold(fold).done) for fold in folds if run.fold(fold).done.exists()}
    run.forget(run.submission, run.report)
    write_json(run.scores, {"folds": folds, **scores_json(statistics, fold_of, decision, config), "training": training})


def predict_test(job: Job) -> None:
    """Store the mean test probabilities over trained folds, snapshots and views."""
    job.refuse_ensemble("predict")
    folds = job.trained_folds
    table = job.dataset.test
    if not len(table):
        raise RunError(f"{job.dataset.root}: there are no test images to predict.")
    members = [job.run.fold(number) for number in folds]
    source = open_source(job.dataset, table, job.config.dataset, read_once=True)
    if job.runtime.is_main:
        job.run.forget(job.run.predicted, job.run.submission, job.run.report)
    job.store_probs(members, source, range(len(table)), job.run.test / "test_")
    if job.runtime.is_main:
        write_json(job.run.predicted, {"folds": folds, "images": len(table)})
    job.runtime.barrier()


def write_submission(job: Job) -> SubmissionProof:
    """Turn test probabilities into masks by the run's decision; write the CSV, read it back, prove it.

    For VOC the masks are also written as result PNGs, under the first of the foreground's class ids.
    """
    decision, folds = read_decision(job.run.decision), list(read_json(job.run.scores)["folds"])
    if job.run.predicted_folds() != folds:
        raise RunError(
            f"{job.run.test}: predicted by the folds {job.run.predicted_folds()}, but the decision rests on {folds}; "
            "run `make predict` (and `make tune`) again."
        )
    job.run.forget(job.run.report)
    store = ProbStore(job.run.test)
    ids = job.dataset.submission_ids or list(job.dataset.test["id"])
    sizes = {sample.id: (sample.height, sample.width) for sample in samples_of(job.dataset.test)}

    def masks() -> Iterator[tuple[str, np.ndarray]]:
        return ((name, decide(store[name], decision)) for name in store)

    if isinstance(job.config.dataset, VocConfig):
        write_voc_results(job.run.voc_results, masks(), ids, sizes, job.config.dataset.class_ids()[0])
    return submission.write_submission(job.run.submission, masks(), ids, sizes, job.config.submission)


def write_report(job: Job) -> None:
    """Write the run's page from its artifacts; pixels come from the data set and the stored probabilities."""
    write_page(job.run, pixels_for_page(job), job.coverage)


def pixels_for_page(job: Job) -> Load:
    """Image, truth and out-of-fold probabilities by id, for a page."""
    store = ProbStore(job.run.oof)
    return lambda name: Sample(*job.pixels_of(name), store[name])
