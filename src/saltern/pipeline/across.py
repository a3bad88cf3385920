"""What is done with finished runs and submissions: ensembles, comparisons, grades."""

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from saltern.config import CompareConfig, EnsembleConfig, ScoreConfig, recorded_overrides
from saltern.data.folds.assign import save_folds
from saltern.data.source.dataset import images_in
from saltern.data.source.images import read_size
from saltern.data.source.problems import Problems
from saltern.errors import ConfigError, RunError
from saltern.files import write_json
from saltern.inference.decide import read_decision
from saltern.inference.ensemble import mean_of_stores, refuse_different_images
from saltern.inference.store import ProbStore, ProbWriter
from saltern.job import Job
from saltern.metrics.scores import summarise
from saltern.pipeline.stages import finish_run, pixels_for_page
from saltern.progress import Progress
from saltern.report.artifacts import read_oof_scores
from saltern.report.compare import Comparison, Member, write_compare
from saltern.runs import RunDir
from saltern.submission import table as submission

log = logging.getLogger(__name__)


def ensemble_runs(config: EnsembleConfig, progress: Progress | None = None) -> Job:
    """Average the probabilities of several runs into a run of its own; tune, submit and report that.

    Out-of-fold means stay out-of-fold: every run's probability of an image comes from networks that have not
    trained on it. The new run takes its config and folds from the first.

    Raises:
        ConfigError: fewer than two runs, or weights that do not fit them.
        RunError: runs that are not finished, over different images, or a new run that exists already.
    """
    members = _reopened(config)
    if config.name in config.runs:
        raise ConfigError(f"name={config.name}: is one of the runs; the ensemble needs a name of its own.")
    weights = config.weights or [1.0] * len(config.runs)
    if len(weights) != len(config.runs) or not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(f"weights={weights}: expected one positive number for each of {config.runs}.")
    first = members[0]
    recorded = recorded_overrides(first.run.environment)
    # no network runs here, so one process on any machine will do
    trainer = replace(first.config.trainer, accelerator="cpu", devices=1, nodes=1, precision="auto")
    own = replace(first.config, name=config.name, overwrite=config.overwrite, trainer=trainer)
    job = Job(own, progress or Progress(), recorded)
    kinds = ["oof", "test"] if len(job.dataset.test) else ["oof"]
    stores = {kind: [ProbStore(member.run.file(kind)) for member in members] for kind in kinds}
    for of_kind in stores.values():
        refuse_different_images(of_kind)
    _begin_ensemble(job, members, weights)
    for kind in kinds:
        with ProbWriter(job.run.file(kind), f"{kind}_0", job.config.inference.shard_mb) as writer:
            for name, probs in mean_of_stores(stores[kind], weights):
                writer.add(name, probs)
    write_json(job.run.predicted, {"folds": job.trained_folds, "images": len(job.dataset.test)})
    finish_run(job)
    return job


def _reopened(config: EnsembleConfig | CompareConfig) -> list[Job]:
    """The runs that `config` names, in its order."""
    if len(config.runs) < 2 or len(set(config.runs)) < len(config.runs):
        raise ConfigError(f"runs={config.runs}: expected two or more different runs.")
    return [Job.reopen(config.outputs, name, config.root) for name in config.runs]


def _begin_ensemble(job: Job, members: list[Job], weights: list[float]) -> None:
    for member in members:
        if not member.run.is_finished(with_test=len(job.dataset.test) > 0):
            raise RunError(f"{member.run.path}: is not finished; give the `make train` that began it once more.")
    folds = [member.trained_folds for member in members]
    if any(other != folds[0] for other in folds):
        raise RunError(f"the runs have trained different folds, {folds}; train the missing ones first.")
    if any(not member.folds.equals(members[0].folds) for member in members):
        log.warning(
            "the runs divide the images differently; fold scores are given by the folds of %s", members[0].run.name
        )
    if job.run.config.exists() and not job.config.overwrite:
        raise RunError(f"{job.run.path}: exists already; give another name=… or overwrite=true.")
    job.begin()
    save_folds(job.run.folds, members[0].folds)
    names = [member.run.name for member in members]
    write_json(job.run.ensemble, {"runs": names, "weights": weights, "folds": folds[0]})


def compare_runs(config: CompareConfig) -> tuple[Path, list[Comparison]]:
    """Every run against the first, image by image on out-of-fold scores: the page's path, and what it says.

    Raises:
        ConfigError: fewer than two runs, or one twice.
        RunError: a run that is not there or not finished.
    """
    members: dict[str, Member] = {}
    for name, job in zip(config.runs, _reopened(config), strict=True):
        table = read_oof_scores(job.run.oof_scores)
        members[name] = Member(table, read_decision(job.run.decision), pixels_for_page(job))
        coverage = job.coverage
    page = RunDir.of(Path(config.outputs) / "compare", config.name).report
    return page, write_compare(page, members, config.score, coverage)


def score_submission(config: ScoreConfig) -> dict[str, Any]:
    """The scores of a submission CSV against a truth CSV, with the number of images scored and of ids left over.

    Raises:
        DataError: see `submission.table.count_submission`; also an images folder without images.
    """
    path, truth = Path(config.submission), Path(config.truth)
    folder = Path(config.images) if config.images else truth.parent / "test" / "images"
    sizes = {}
    if config.outside == "error" and (config.images or folder.is_dir()):
        sizes = _sizes_in(folder)
    found = submission.count_submission(path, truth, sizes, config.format)
    unknown = [name for name in found.ids if name not in sizes]
    if unknown and config.outside == "error":
        log.warning(
            "%s: holds no image of %d of %d ids, such as %r; runs past the end of these count as false positives "
            "instead of being refused. images=FOLDER says where the images lie",
            folder, len(unknown), len(found.ids), unknown[0],
        )  # fmt: skip
    return {"images": len(found.ids), "left_out": found.extra, **summarise(found.counts)}


def _sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Id → (height, width) of the images in `folder`."""
    problems = Problems(folder)
    images = images_in(folder, problems)
    problems.raise_any()
    return {name: read_size(path) for name, path in images.items()}
