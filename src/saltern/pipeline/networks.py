"""What of a finished run new images need: its networks and its decision. Its data set need not be there."""

from collections.abc import Iterable
from pathlib import Path

from saltern.config import ALL_IMAGES
from saltern.data.folds.assign import read_fold_numbers
from saltern.errors import RunError
from saltern.inference.decide import Decision, read_decision
from saltern.inference.members import Members
from saltern.job import Job
from saltern.pipeline.all_images import predicts
from saltern.runs.folder import FoldName


def weights_of(job: Job, folds: Iterable[int], *, with_all: bool) -> list[Path]:
    """The weights that predict new images: those of `folds`, and `with_all` of the network of all images."""
    members: list[FoldName] = [*folds, *([ALL_IMAGES] if with_all else [])]
    return [path for number in members for path in job.run.fold(number).weights()]


def members_of(job: Job) -> Members:
    """The networks of a finished run, to predict images that need not be of its data set, which is not opened.

    No process waits for another here, so each may ask when it needs them.

    Raises:
        RunError: an ensemble, which has no networks; folds that are not trained to their end, or have changed.
    """
    if job.life.is_ensemble:
        raise RunError(
            f"{job.run.path}: is an ensemble of other runs and has no networks of its own; predict with each of "
            f"{', '.join(job.life.ensemble().runs)}, and average what they say."
        )
    job.life.require_folds()
    folds = job.life.trained_folds(read_fold_numbers(job.run.folds))
    return Members(job.runtime, job.config, weights_of(job, folds, with_all=predicts(job)))


def decision_of(job: Job) -> Decision:
    """The decision of a run, made sure of; one that was edited by hand is told and taken.

    Raises:
        RunError: the run was not tuned, or has changed since.
    """
    job.life.require("tune")
    return read_decision(job.run.decision)
