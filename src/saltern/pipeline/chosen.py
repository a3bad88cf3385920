"""Which networks of a run are handed over, and images to compare on what is said of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from saltern.config import ALL_IMAGES, ConfigError, RunConfig
from saltern.errors import unknown
from saltern.inference.members import Images, evenly
from saltern.job import Job
from saltern.pipeline.networks import members_of


def alone(config: RunConfig, **trainer: Any) -> RunConfig:
    """`config` for a single process, with these keys of its `trainer` besides."""
    return replace(config, trainer=replace(config.trainer, devices=1, nodes=1, **trainer))


def chosen_weights(job: Job, members: Any) -> list[Path]:
    """The weights of `members` of a finished run, in the run's own order.

    Args:
        job: the run.
        members: `all` that predict its test images; or a list of folds, and `all` for the network of all images.

    Raises:
        ConfigError: one that it has not.
        RunError: an ensemble, folds that are not trained to their end, or have changed.
    """
    paths = members_of(job).paths
    if members == ALL_IMAGES:
        return paths
    known = list(dict.fromkeys(path.parent.name.removeprefix("fold_") for path in paths))
    asked = [str(member) for member in members]
    for member in asked:
        if member not in known:
            raise ConfigError(f"members: {job.run.path}: {unknown('member', member, known)}")
    return [path for path in paths if path.parent.name.removeprefix("fold_") in asked]


def some_images(job: Job, most: int) -> Images:
    """At most so many test images, evenly chosen, as the run reads them; labelled ones where there are none.

    Raises:
        DataError: the data set is not where it was.
    """
    source = job.material.test if job.has_test else job.material.labelled
    return Images(job.material, source, evenly(len(source), most), job.loading)
