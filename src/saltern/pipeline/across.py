"""What is done with finished runs and submissions: ensembles, comparisons, grades."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from saltern import runtime
from saltern.config import CompareConfig, EnsembleConfig, ScoreConfig, recorded_overrides
from saltern.data.folds.assign import save_folds
from saltern.data.folds.membership import read_groups, save_groups
from saltern.data.source.listing import sizes_in
from saltern.errors import ConfigError, RunError
from saltern.files import read_as, write_json
from saltern.inference.ensemble import Recipe, mean_of_stores, refuse_different_images
from saltern.inference.store import ProbStore, ProbWriter, clear_shards
from saltern.job import Job
from saltern.metrics.differences import Comparison
from saltern.metrics.scores import summarise
from saltern.pipeline.blending import asked_of, begun_as, blend, recipe_in
from saltern.pipeline.contestants import gather
from saltern.pipeline.finishing import finish_run
from saltern.pipeline.mixture import mixed_kinds, uneven_groups
from saltern.pipeline.truths import refuse_other_truths
from saltern.progress import Progress
from saltern.report.cautions import other_images_text
from saltern.report.compare import write_compare
from saltern.runs import RunDir
from saltern.submission import table as submission

log = logging.getLogger(__name__)


def ensemble_runs(config: EnsembleConfig, progress: Progress | None = None) -> Job:
    """Average what several runs say into a run of its own; tune, submit and report that.

    Out-of-fold means stay out-of-fold: every run's probability of an image comes from networks that have not trained on
    it, and weights, maps and votes that are fitted come from other folds. The new run takes its config and folds from
    the first.

    Raises:
        ConfigError: fewer than two runs.
        RunError: runs that are not finished, over different images or truths, whose folds divide the images differently
            (unless insisted), or a new run that exists already; see also `blending.blend`.
    """
    members = _reopened(config)
    if config.name in config.runs:
        raise ConfigError(f"name={config.name}: is one of the runs; the ensemble needs a name of its own.")
    job = _job_of(config, members, progress)
    agreed = _agreement(members, config.insist, with_test=job.has_test)
    kinds = ["oof", "test"] if job.has_test else ["oof"]
    stores = {kind: [ProbStore(member.run.file(kind)) for member in members] for kind in kinds}
    for of_kind in stores.values():
        refuse_different_images(of_kind)
    facts = {"runs": list(config.runs), **asked_of(config), **agreed}
    with job.life.hold():
        _begin_ensemble(job, members, begun_as(config))
        if not job.life.is_averaged(facts):
            made_of = job.life.members_ingredients(member.life for member in members)
            found = blend(job, config, members, stores["oof"])
            shards = _average(job, "oof", stores["oof"], found.recipe_of)
            job.life.close_ensemble(shards, made_of, {**facts, **found.facts})
        if job.has_test and job.life.faults("predict"):
            made_of = job.life.ingredients("predict")
            recipe = recipe_in(job.life.ensemble())
            shards = _average(job, "test", stores["test"], lambda _: recipe)
            job.life.close("predict", shards, made_of, {"images": len(job.material.dataset.test)})
    finish_run(job, again=False)
    return job


def _job_of(config: EnsembleConfig, members: list[Job], progress: Progress | None) -> Job:
    """The job of the ensemble: the first member's config under the new name, on one process of any machine."""
    first = members[0]
    trainer = replace(first.config.trainer, accelerator="cpu", devices=1, nodes=1, precision="auto")
    own = replace(first.config, name=config.name, overwrite=config.overwrite, trainer=trainer)
    return Job(own, progress or Progress(), recorded_overrides(first.run.environment))


def _average(job: Job, kind: str, stores: list[ProbStore], recipe_of: Callable[[str], Recipe]) -> list[Path]:
    """Store the means of `stores`; gives the shards."""
    folder = job.run.file(kind)
    clear_shards(folder)
    with ProbWriter(folder, f"{kind}_0", job.config.inference.shard_mb) as writer:
        for name, mean in mean_of_stores(stores, recipe_of):
            writer.add(name, mean.probs, mean.presence)
    return sorted(folder.glob("*.safetensors"))


def _reopened(config: EnsembleConfig | CompareConfig) -> list[Job]:
    """The runs that `config` names, in its order."""
    if len(config.runs) < 2 or len(set(config.runs)) < len(config.runs):
        raise ConfigError(f"runs={config.runs}: expected two or more different runs.")
    return [Job.reopen(config.outputs, name, config.root) for name in config.runs]


def _begin_ensemble(job: Job, members: list[Job], begun: dict[str, Any]) -> None:
    """Begin the ensemble's folder, or go on with one that was begun alike.

    Raises:
        RunError: a folder that holds something else.
    """
    run = job.run
    if run.config.exists() and not job.config.overwrite and _begun_as(run) != begun:
        raise RunError(f"{run.path}: exists already; give another name=… or overwrite=true.")
    environment = {**runtime.environment(job.config.trainer), "overrides": job.overrides, "ensemble": begun}
    job.life.begin(environment)
    if _begun_as(run) != begun:
        write_json(run.environment, environment)
    save_groups(run.groups, read_groups(members[0].run))
    save_folds(run.folds, members[0].folds)
    job.life.close_folds()


def _agreement(members: list[Job], insist: bool, *, with_test: bool) -> dict[str, Any]:
    """In how far `members` may be averaged: what the ensemble's seal says of their folds and images.

    Raises:
        RunError: a member is not finished, or has other truths or folds than the first; see `ensemble_runs`.
    """
    for member in members:
        if not member.life.is_finished(with_test=with_test):
            raise RunError(f"{member.run.path}: is not finished; give the `make train` that began it once more.")
    other_images = refuse_other_truths(members, insist=insist)
    folds = [member.trained_folds for member in members]
    if any(other != folds[0] for other in folds):
        raise RunError(f"the runs have trained different folds, {folds}; train the missing ones first.")
    kinds = mixed_kinds(members, insist=insist)
    return {"folds": folds[0], "mixed_folds": bool(kinds), "fold_kinds": kinds, "other_images": other_images}


class _Begun(BaseModel):
    """What `environment.json` says of an ensemble."""

    ensemble: dict[str, Any] | None = None


def _begun_as(run: RunDir) -> dict[str, Any] | None:
    """The members, and the way to average them, with which an ensemble was begun; None for what is no ensemble."""
    if not run.environment.exists():
        return None
    return read_as(run.environment, _Begun, "Give another name=… or overwrite=true.").ensemble


def compare_runs(config: CompareConfig) -> tuple[Path, list[Comparison]]:
    """Every run against the first, image by image on nested out-of-fold scores: the page's path, and what it says.

    Raises:
        ConfigError: fewer than two runs, or one twice.
        RunError: a run that is not there or not finished, or of which something has changed since it was tuned; runs
            that were scored on different truths or, unless insisted, on other files of the images.
    """
    jobs = dict(zip(config.runs, _reopened(config), strict=True))
    members, known = gather(jobs, config.score)
    others = refuse_other_truths(list(jobs.values()), insist=config.insist)
    cautions = uneven_groups(list(jobs.values())) + ([other_images_text(others)] if others else [])
    for text in cautions:
        log.warning("%s", text)
    known = replace(known, notes=[*cautions, *known.notes])
    page = RunDir.of(Path(config.outputs) / "compare", config.name).report
    return page, write_compare(page, members, known, config.score, jobs[config.runs[-1]].material.coverage)


def score_submission(config: ScoreConfig) -> dict[str, Any]:
    """The scores of a submission CSV against a truth CSV, with the number of images scored and of ids left over.

    Raises:
        DataError: see `submission.table.count_submission`; also an images folder without images.
    """
    path, truth = Path(config.submission), Path(config.truth)
    folder = Path(config.images) if config.images else truth.parent / "test" / "images"
    sizes = {}
    if config.outside == "error" and (config.images or folder.is_dir()):
        sizes = sizes_in(folder)
    found = submission.count_submission(path, truth, sizes, config.format)
    unknown = [name for name in found.ids if name not in sizes]
    if unknown and config.outside == "error":
        log.warning(
            "%s: holds no image of %d of %d ids, such as %r; runs past the end of these count as false positives "
            "instead of being refused. images=FOLDER says where the images lie",
            folder, len(unknown), len(found.ids), unknown[0],
        )  # fmt: skip
    return {"images": len(found.ids), "left_out": found.extra, **summarise(found.counts)}
