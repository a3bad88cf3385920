"""Runs that are to be compared: their tables, their seeds, and what is known of images that belong together."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from saltern.data.folds.membership import read_groups
from saltern.errors import RunError
from saltern.inference.decide import read_decision
from saltern.inference.spread import measure_spread
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.metrics.noise import Retrain
from saltern.metrics.scores import PER_IMAGE
from saltern.pipeline.spreads import spread_of
from saltern.pipeline.truths import pixels_for_page, refuse_other_truths
from saltern.report.artifacts import read_oof_scores
from saltern.report.compare import Known, Member
from saltern.runs import RunDir

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Nested:
    """A run's scores at decisions tuned without the images, or what stands for them."""

    table: pd.DataFrame
    note: str | None = None
    """What is wrong with them."""


def gather(jobs: Mapping[str, Job], score: str) -> tuple[dict[str, Member], Known]:
    """What `report.compare` needs of the runs `jobs`, the baseline first.

    Where several runs have measured their seeds, the first of them speaks for all.

    Raises:
        RunError: a run that is not tuned, or of which something has changed since.
    """
    members: dict[str, Member] = {}
    notes: list[str] = []
    retrain, measured = Retrain(), None
    clusters, said = common_groups({name: job.run for name, job in jobs.items()})
    for name, job in jobs.items():
        nested = read_nested(job)
        trained, seeds = {name: nested.table}, [job.config.seed]
        for other, seed in _seed_runs(job, notes):
            trained[other.run.name] = read_nested(other).table
            seeds.append(seed)
        notes += [nested.note] if nested.note else []
        if len(trained) > 1 and measured is None and score in PER_IMAGE:  # else it is refused with the page
            retrain, measured = measure_spread(trained, seeds, clusters).retrain(score), name
        table = read_oof_scores(job.run.oof_scores)
        decision = read_decision(job.run.decision, presence=ProbStore(job.run.oof).has_presence)
        members[name] = Member(table, decision, pixels_for_page(job), list(trained.values()))
    notes += said
    for note in notes:
        log.warning("%s", note)
    return members, Known(clusters, retrain, measured, notes)


def read_nested(job: Job) -> Nested:
    """`oof_nested.csv` of a tuned run, or its scores at its own decision where it was tuned by an earlier version."""
    job.life.require("tune")
    job.life.require_out_of_fold()
    if job.run.oof_nested.exists():
        return Nested(read_oof_scores(job.run.oof_nested))
    note = (
        f"{job.run.name} was tuned by an earlier version, so its scores are at the decision that was tuned on these "
        f"very images, and too high; `make tune name={job.run.name}` mends that."
    )
    return Nested(read_oof_scores(job.run.oof_scores), note)


def common_groups(runs: Mapping[str, RunDir]) -> tuple[dict[str, str] | None, list[str]]:
    """Id → group, by the first run that knows groups; and a sentence where others do not know them.

    Returns:
        None where no run does.
    """
    known = {name: groups for name, run in runs.items() if (groups := read_groups(run)) is not None}
    if not known:
        return None, []
    name, groups = next(iter(known.items()))
    without = [other for other in runs if other not in known]
    said = f"Images that belong together are known from {name} alone; {', '.join(without)} may have them in two folds."
    return groups, [said] if without else []


def _seed_runs(job: Job, notes: list[str]) -> list[tuple[Job, int]]:
    """The runs of `seeds.json` besides the run itself, each with its seed; what cannot be read is put into `notes`."""
    spread = spread_of(job)
    found = []
    for name, seed in zip(spread.runs, spread.seeds, strict=True) if spread is not None else []:
        if name == job.run.name:
            continue
        try:
            other = Job.reopen(job.config.outputs, name, str(job.config.dataset.root))
            read_nested(other)
            refuse_other_truths([job, other], insist=False)
            found.append((other, seed))
        except RunError as error:
            notes.append(f"{name}, a seed of {job.run.name}, is left out: {error}")
    return found
