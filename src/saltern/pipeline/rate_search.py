"""A short training of every loss at every rate of a grid, and the rate that each loss is then trained at."""

import logging

from pydantic import BaseModel

from saltern.config.loss_recipe import Budget, lengths
from saltern.files import read_as, write_json
from saltern.job import Job
from saltern.pipeline.loss_runs import Laboratory
from saltern.report.artifacts import read_scores
from saltern.report.loss_table import Rate

log = logging.getLogger(__name__)


class Rates(BaseModel):
    """The content of `rates.json`."""

    rates: dict[str, Rate]
    """By loss."""


def search_rates(laboratory: Laboratory, folds: list[int]) -> dict[str, Rate]:
    """The rate of every loss; one that no rate could train is left out.

    A rate is chosen once, by the pooled score `inference.tune_for` at each run's own tuned decision, and kept in
    `rates.json`, since the runs that are trained with it rest on it. Of equal scores the factor nearest to 1 wins.
    """
    config, folder = laboratory.config, laboratory.folder
    search, kept = config.search, Rates(rates={})
    if folder.rates.exists():
        kept = read_as(folder.rates, Rates, "Put it back as it was, or delete the laboratory's folder.")
    epochs = search.epochs or max(1, round(search.share * sum(lengths(config.schedule, 1))))
    jobs: dict[str, dict[float, Job]] = {}
    for loss, texts in laboratory.losses.items():
        if loss in kept.rates or len(search.rates) == 1:
            continue
        own = {"seed": config.seeds[0], "trainer.folds": [folds[0] if search.fold is None else search.fold]}
        jobs[loss] = {
            factor: laboratory.job(
                folder.search, f"{loss}_rate{factor:g}", loss, Budget(factor, max(epochs, len(texts))), own
            )
            for factor in search.rates
        }
    named = {f"search of {loss} at {factor:g}": job for loss, grid in jobs.items() for factor, job in grid.items()}
    failed = laboratory.train(named, finish=False, page=False)
    first = next(iter(config.schedule.phases.values())).lr
    for loss in laboratory.losses:
        if loss not in kept.rates:
            scores = {
                factor: None if f"search of {loss} at {factor:g}" in failed else _score(job)
                for factor, job in jobs.get(loss, {}).items()
            }
            chosen = choose_rate(scores, search.rates)
            if chosen is not None:
                kept.rates[loss] = Rate(
                    factor=chosen, lr=first * chosen, scores={f"{k:g}": v for k, v in scores.items()}
                )
                _say_edge(loss, kept.rates[loss])
    write_json(folder.rates, kept.model_dump())
    return {loss: kept.rates[loss] for loss in laboratory.losses if loss in kept.rates}


def choose_rate(scores: dict[float, float | None], rates: list[float]) -> float | None:
    """The factor of the best score, of equal ones that nearest to 1; the one rate of a grid of one; None for none."""
    if len(rates) == 1:
        return rates[0]
    known = {factor: score for factor, score in scores.items() if score is not None}
    return max(known, key=lambda factor: (known[factor], -abs(factor - 1))) if known else None


def _score(job: Job) -> float:
    scores = read_scores(job.run)
    return float(scores["pooled"]["at_decision"][job.config.inference.tune_for])


def _say_edge(loss: str, rate: Rate) -> None:
    if rate.edge is not None:
        log.warning(
            "%s: the %s rate of the search is its best (factor %g), and one beyond it may be better still; "
            "search.rates=[…] of a new laboratory reaches further", loss, rate.edge, rate.factor,
        )  # fmt: skip
