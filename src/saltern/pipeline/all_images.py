"""The network of all images: how many epochs it takes, and what is said of one that no score belongs to."""

import logging
import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Protocol

from saltern.config import ALL_IMAGES, PhaseConfig
from saltern.engine.checkpoint import TrainState
from saltern.errors import ConfigError, RunError
from saltern.files import read_json, write_json
from saltern.job import Job
from saltern.losses import Schedule
from saltern.runs.seals import FoldSeal

log = logging.getLogger(__name__)


class Learnt(Protocol):
    """What a trained fold has found out about epochs, all of them counted over its own phases from 1."""

    @property
    def best_epoch(self) -> int:
        """The epoch with the best score."""

    @property
    def phase_best_epoch(self) -> dict[str, int]:
        """Phase → the epoch of its best score."""

    @property
    def phase_epochs(self) -> dict[str, int]:
        """Phase → the epochs it took; 0 where it never began."""


def typical_lengths(phases: Mapping[str, PhaseConfig], folds: Sequence[Learnt], keep: str = "best") -> dict[str, int]:
    """Phase → the epochs of a training without scores that is to end where `folds` were at their best.

    The schedule is followed to the median of the folds' best epochs. A phase before that takes the median of the epochs
    that it took; where the next one starts from the best weights, the median of its best epochs, since nothing will say
    which were the best. Medians are rounded up. A phase that keeps snapshots is followed to its end, for the mean of
    these predicts, whichever epoch was the best; and where the folds `keep` something else than their best weights,
    the schedule is followed to the median of the epochs that it took, since theirs are weights of its end.
    """
    if keep == "best":
        end = _rounded_up([_place(phases, fold) for fold in folds])
    else:
        end = _rounded_up([sum(_full(phases, fold).values()) for fold in folds])
    last_kept = max((number for number, phase in enumerate(phases.values()) if phase.snapshots), default=-1)
    following = [*(phase.start_from for phase in phases.values()), "last"][1:]
    lengths: dict[str, int] = {}
    first = 0
    for number, (name, phase) in enumerate(phases.items()):
        took = [fold.phase_epochs[name] for fold in folds if fold.phase_epochs[name] > 0]
        best = [_within(name, fold) for fold in folds if name in fold.phase_best_epoch]
        if number > last_kept and end <= first + phase.epochs:
            lengths[name] = max(0, end - first)
        elif following[number] == "best" and not phase.snapshots:
            lengths[name] = _rounded_up(best)
        else:
            lengths[name] = _rounded_up(took)
        first += phase.epochs
    return lengths


def _rounded_up(numbers: Sequence[int]) -> int:
    return math.ceil(median(numbers)) if numbers else 0


def _within(phase: str, fold: Learnt) -> int:
    """The best epoch of a phase, counted within it from 1."""
    names = list(fold.phase_epochs)
    before = sum(fold.phase_epochs[name] for name in names[: names.index(phase)])
    return fold.phase_best_epoch[phase] - before


def _full(phases: Mapping[str, PhaseConfig], fold: Learnt) -> dict[str, int]:
    """Phase → its epochs in the schedule, but for the last one that `fold` came to: those that it took."""
    last = max(number for number, name in enumerate(phases) if fold.phase_epochs[name] > 0)
    return {
        name: phase.epochs if number < last else fold.phase_epochs[name]
        for number, (name, phase) in enumerate(phases.items())
    }


def _place(phases: Mapping[str, PhaseConfig], fold: Learnt) -> int:
    """The best epoch of `fold` where every phase would have had all of its epochs."""
    first, before = 0, 0
    for name, phase in phases.items():
        if fold.best_epoch <= before + fold.phase_epochs[name]:
            return first + fold.best_epoch - before
        before += fold.phase_epochs[name]
        first += phase.epochs
    raise AssertionError("a best epoch outside of all phases")


def planned_lengths(job: Job) -> dict[str, int]:
    """Phase → the epochs of the network of all images, by what the trained folds have noted.

    Raises:
        ConfigError: a learning rate that follows scores.
        RunError: no fold is trained, or one has not noted what is needed.
    """
    phases = job.config.schedule.phases
    for name, phase in phases.items():
        if phase.lr_policy == "plateau":
            raise ConfigError(
                f"trainer.folds=[{ALL_IMAGES}]: schedule.phases.{name}.lr_policy=plateau follows validation scores, "
                "and where every image is trained on there are none. Expected another policy, in a run of its own."
            )
    if not job.run.sealed_folds():
        raise RunError(
            f"{job.run.path}: trainer.folds=[{ALL_IMAGES}] trains for as many epochs as the folds found best, and no "
            f"fold is trained. First `make train name={job.config.name}` with the run's settings (or with "
            f"trainer.folds=[0], for one of them), then again with trainer.folds=[{ALL_IMAGES}]."
        )
    facts = {number: job.life.seals.read(job.run.fold(number).done, FoldSeal) for number in job.trained_folds}
    for number, fact in facts.items():
        if set(fact.phase_epochs) != set(phases) or fact.best_epoch > sum(fact.phase_epochs.values()):
            raise RunError(
                f"{job.run.fold(number).done}: does not say how many epochs each phase took; it was written by an "
                "earlier version of Saltern, or by hand. Delete the fold's folder to train it again."
            )
    keep = job.config.trainer.keep
    lengths = typical_lengths(phases, list(facts.values()), keep)
    if keep == "average":
        log.warning(
            "%s: predicts with its last weights; an average of epochs is kept by folds alone, whose scores choose them",
            job.run.all_images.path,
        )
    why = "the best epochs" if keep == "best" else "the last epochs"
    said = ", ".join(f"{name} {epochs}" for name, epochs in lengths.items())
    log.info(
        "%s: %d epochs (%s), by %s of folds %s",
        job.run.all_images.path,
        sum(lengths.values()),
        said,
        why,
        list(facts),
    )
    return lengths


def warn_of_other_lengths(job: Job) -> None:
    """Warn where the network of all images was trained for other epochs than the folds that are trained now say."""
    seal = job.life.all_images()
    if seal is None or seal.ended != "schedule":
        return
    planned = planned_lengths(job)
    if seal.phase_epochs != planned:
        log.warning(
            "%s: was trained for %s epochs by folds %s; the folds that are trained now say %s. Delete the folder to "
            "train it by these",
            job.run.all_images.path,
            seal.phase_epochs,
            seal.folds,
            planned,
        )


def all_facts(job: Job, state: TrainState, images: int, planned: Mapping[str, int]) -> dict[str, Any]:
    """What `fold_all/done.json` tells, see `AllSeal`; warns where these are not the epochs that the folds say now."""
    lengths = Schedule(job.config.schedule).lengths(state.ended)
    if state.ended_by is None and lengths != planned:
        log.warning(
            "%s: goes on as it was begun, for %s epochs, where the folds that are trained now say %s; "
            "delete the folder to train it by these",
            job.run.all_images.path,
            lengths,
            dict(planned),
        )
    return {
        "images": images,
        "epochs": state.epoch,
        "phase_epochs": lengths,
        "ended": state.ended_by or "schedule",
        "folds": job.trained_folds,
        "precision": job.runtime.precision,
    }


def note_of(job: Job) -> dict[str, Any]:
    """What `scores.json` says of the network of all images; empty where there is none."""
    seal = job.life.all_images()
    if seal is None:
        return {}
    text = (
        f"{job.run.all_images.path.name} saw all {seal.images} labelled images, so it has no out-of-fold score; it is "
        "one more network in the mean that predicts the test images, and no score here is its."
    )
    return {"all_images": {"images": seal.images, "epochs": seal.epochs, "out_of_fold": None, "note": text}}


def mention(job: Job) -> None:
    """Let the scores of a run that is tuned say whether there is a network of all images; its decision stays."""
    if job.life.is_ensemble or job.life.stale("tune"):
        return
    scores, note = read_json(job.run.scores), note_of(job)
    if scores.get("all_images") != note.get("all_images"):
        scores.pop("all_images", None)
        write_json(job.run.scores, {**scores, **note})
        job.life.amend("tune", job.run.scores)


def predicts(job: Job) -> bool:
    """Whether the network of all images is one of those that predict test images; warns where it is half trained."""
    there = job.life.all_images() is not None
    if not there and job.run.all_images.path.exists():
        log.warning(
            "%s: is not trained to its end, so test images are predicted without it; `make train "
            "'trainer.folds=[%s]'` goes on with it",
            job.run.all_images.path,
            ALL_IMAGES,
        )
    return there
