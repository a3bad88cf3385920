"""What the trained runs of a loss laboratory have stored, gathered for its table and page."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from saltern.config import LaboratoryConfig
from saltern.inference.decide import as_probabilities, read_decision
from saltern.inference.spread import pooled_retrain
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.metrics.calibration import Reliability
from saltern.metrics.scores import MEAN_OF, PER_IMAGE, count_pixels
from saltern.pipeline.contestants import common_groups, read_nested
from saltern.pipeline.truths import refuse_other_truths
from saltern.report.artifacts import read_metrics, read_scores
from saltern.report.loss_table import Evidence, LossRuns, Rate

log = logging.getLogger(__name__)


def gather_losses(
    config: LaboratoryConfig, rates: Mapping[str, Rate], trained: Mapping[str, Sequence[Job]], failed: Sequence[str]
) -> Evidence:
    """Everything that `write_losses` needs.

    Args:
        config: of the laboratory.
        rates: by loss, those of `trained` at least.
        trained: loss → its tuned runs, one a seed; the baseline first.
        failed: what is left out.

    Raises:
        RunError: a run that is not tuned or was changed since, or runs that were scored on different truths.
    """
    jobs = {job.run.name: job for of_loss in trained.values() for job in of_loss}
    refuse_other_truths(list(jobs.values()), insist=False)
    clusters, notes = common_groups({name: job.run for name, job in jobs.items()})
    losses = {loss: _runs_of(config, loss, rates[loss], of_loss, notes) for loss, of_loss in trained.items()}
    score = config.score or MEAN_OF.get(config.inference.tune_for, "iou")
    for note in notes:
        log.warning("%s", note)
    tables = {kind: [getattr(runs, kind) for runs in losses.values()] for kind in ("nested", "neutral")}
    return Evidence(
        losses=losses,
        score=score,
        monitor=config.trainer.monitor,
        retrain={kind: pooled_retrain(of_kind, score, clusters) for kind, of_kind in tables.items()},
        measured=sum(len(of_loss) > 1 for of_loss in trained.values()),
        coverage=next(iter(jobs.values())).material.coverage,
        clusters=clusters,
        failed=failed,
        notes=notes,
    )


def _runs_of(config: LaboratoryConfig, loss: str, rate: Rate, jobs: Sequence[Job], notes: list[str]) -> LossRuns:
    neutral, reliability = zip(*(_at_half(job) for job in jobs), strict=True)
    found = [read_scores(job.run) for job in jobs]
    for job, scores in zip(jobs, found, strict=True):
        if scores["nested"] is None:
            notes.append(f"{job.run.name} has no tuned score ({scores['nested_reason']}); 0.5 stands for it.")
    metrics = [read_metrics(job.run) for job in jobs]
    return LossRuns(
        phases=config.tried()[loss],
        rate=rate,
        nested=[read_nested(job).table for job in jobs],
        neutral=neutral,
        summaries=[_summaries(scores) for scores in found],
        thresholds=[read_decision(job.run.decision).threshold for job in jobs],
        reliability=reliability,
        metrics=metrics,
        seconds_per_step=_seconds_per_step(config, metrics),
        epochs=max(len(table) for run in metrics for table in run.values()),
    )


def _summaries(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    neutral = scores["pooled"]["at_0.5"]
    return {"at_0.5": neutral, "nested": neutral if scores["nested"] is None else scores["nested"]["scores"]}


def _at_half(job: Job) -> tuple[pd.DataFrame, Reliability]:
    """Scores of the out-of-fold images at 0.5, as `oof_scores.csv` has them, and how reliable probabilities are."""
    store, reliability = ProbStore(job.run.oof), Reliability()
    fold_of, rows, counts = job.fold_of, [], []
    with job.progress.track(f"{job.run.name}: reliability", len(store)):
        for name in store:
            probs, target = as_probabilities(store[name]), job.material.truth_of(name)
            reliability.add(probs, target)
            counts.append(count_pixels(probs > np.float32(0.5), target))
            rows.append({"id": name, "fold": fold_of[name]})
            job.progress.advance(1)
    table = pd.DataFrame(rows)
    return table.assign(**{name: of(np.array(counts)) for name, of in PER_IMAGE.items()}), reliability


def _seconds_per_step(config: LaboratoryConfig, metrics: Sequence[Mapping[int, pd.DataFrame]]) -> float:
    """The median over all epochs."""
    trainer = config.trainer
    images = trainer.batch_size * trainer.accumulate * trainer.devices * trainer.nodes
    rates = pd.concat([table["images_per_s"] for run in metrics for table in run.values()])
    return float(images / rates.median())
