"""What a run believes of itself: how much its scores flatter it, and what a leaderboard will show."""

import logging
from collections.abc import Mapping
from typing import Any

from saltern.config.choices import MONITORS
from saltern.config.forecast import check_forecast
from saltern.data.folds.membership import lacks_groups, read_groups
from saltern.files import read_json
from saltern.inference.epoch_counts import EpochCounts
from saltern.inference.estimate import Nested, folds_of
from saltern.inference.forecast import Evidence, forecast
from saltern.inference.halves import clusters_of
from saltern.inference.selection import Selection, optimism_of, selection_of_fold
from saltern.inference.tune import Statistics
from saltern.job import Job
from saltern.metrics.noise import Retrain
from saltern.metrics.scores import MEAN_OF
from saltern.metrics.values import values_of
from saltern.pipeline.spreads import spread_of

log = logging.getLogger(__name__)

Groups = Mapping[str, str] | None

NOTABLE = 0.005
"""Selection optimism above which the console says how to owe nothing to it."""

_NO_SPREAD = "nothing shows the spread: there is a single image or group, or all images score the same"
_NO_TEST = "there are no test images; forecast.images=N asks for so many"


def groups_of_run(job: Job) -> Groups:
    """Id → group of the labelled images; warns where an earlier version has not kept them."""
    if lacks_groups(job.run, job.config.folds.kind):
        log.warning(
            "%s: was divided by groups, but by a version of Saltern that did not keep them: halves and intervals take "
            "every image as its own, so they promise too much", job.run.path,
        )  # fmt: skip
    return read_groups(job.run)


def claims(
    job: Job, statistics: Statistics, fold_of: Mapping[str, int], nested: Nested, scores: Mapping[str, Any]
) -> dict[str, Any]:
    """What `scores.json` says beside the scores themselves.

    - `optimism`: `tuning` (pooled at the decision less nested) and `selection` (what choosing the best epoch gained on
      the images it is scored on), each null where it cannot be said; `selection_note` says why; `folds` has
      `Selection.to_json` of every fold;
    - `estimate`: nested less selection, the score to believe; where selection is not known, nested alone;
    - `forecast`: see `saltern.inference.forecast.forecast`; null with a `forecast_reason`.
    """
    groups, score = read_groups(job.run), job.config.inference.tune_for
    folds = _selections(job, groups)
    selection, note = optimism_of(list(folds.values()))
    if job.life.is_ensemble:
        note = "the mean of runs has no epochs of its own; the pages of its members say what theirs gained"
    flattered: dict[str, Any] = {"tuning": None, "selection": selection}
    flattered |= {"selection_note": note} if note else {}
    flattered["folds"] = {name: fold.to_json() for name, fold in folds.items()}
    if nested.reason:
        return {"optimism": flattered, "estimate": None, "forecast": None, "forecast_reason": nested.reason}
    believed = scores["nested"]["scores"][score] - (selection or 0.0)
    flattered["tuning"] = scores["pooled"]["at_decision"][score] - scores["nested"]["scores"][score]
    values = values_of(nested.counts, score)
    clusters, owners = clusters_of(statistics.ids, groups), folds_of(statistics, fold_of)
    evidence = Evidence(values, clusters, owners, _retrain(job, score))
    return {"optimism": flattered, "estimate": believed, **_foretold(job, evidence, believed)}


def _retrain(job: Job, score: str) -> Retrain:
    """What `make seeds` has measured of the run, where it has and the score is a mean of images; else the default."""
    spread = spread_of(job)
    return Retrain() if spread is None or score not in MEAN_OF else spread.retrain(MEAN_OF[score])


def _foretold(job: Job, evidence: Evidence, believed: float) -> dict[str, Any]:
    images, public = images_of_leaderboard(job), job.config.forecast.public_images
    if not images:
        return {"forecast": None, "forecast_reason": _NO_TEST}
    said = forecast(evidence, believed, images, public)
    if said is None:
        return {"forecast": None, "forecast_reason": _NO_SPREAD}
    return {"forecast": said}


def images_of_leaderboard(job: Job) -> int:
    """How many images the leaderboard counts: what the config says, else the test images; 0 where there are none.

    Raises:
        ConfigError: a public part that is larger.
    """
    dataset = job.material.dataset
    test = len(dataset.submission_ids or dataset.test)
    check_forecast(job.config.forecast, test)
    return job.config.forecast.images or test


def asks_anew(job: Job) -> bool:
    """Whether this call asks for another forecast than the one that stands in `scores.json`."""
    asked = job.config.forecast
    if (asked.images is None and asked.public_images is None) or job.life.stale("tune"):
        return False  # nothing is asked, or all is tuned anew
    scores = read_json(job.run.scores)
    said = scores.get("forecast") or {}
    if not said and "forecast" in scores and scores.get("forecast_reason") != _NO_TEST:
        return False  # it cannot be said, for however many images
    public = (said.get("public") or {}).get("images")
    return bool(said.get("images") != images_of_leaderboard(job) or public != asked.public_images)


def _selections(job: Job, groups: Groups) -> dict[str, Selection]:
    """Fold → what choosing its epoch gained; says on the console where that is much and need not be."""
    if job.life.is_ensemble:
        return {}
    found = {str(number): _selection(job, number, groups) for number in job.trained_folds}
    optimism, _ = optimism_of(list(found.values()))
    last = list(job.config.schedule.phases.values())[-1]
    above = [fold.last for fold in found.values() if fold.last is not None]
    if optimism is not None and optimism > NOTABLE and last.lr_policy == "cosine":
        log.info(
            "%s: choosing the best epoch gained %.4f on the images it is scored on, which the estimate takes off. The "
            "rate ends at 0, where the last epoch is often as good (here %+.4f against the best, chosen without its "
            "images): trainer.keep=last chooses nothing", job.run.path, optimism, sum(above) / max(len(above), 1),
        )  # fmt: skip
    return found


def _selection(job: Job, number: int, groups: Groups) -> Selection:
    facts, fold = job.life.fold_facts(number), job.run.fold(number)
    images = int((job.folds["fold"] == number).sum())
    keep = facts.get("keep", job.config.trainer.keep)
    if any(phase.snapshots for phase in job.config.schedule.phases.values()):
        return Selection(images, None, "the mean of snapshots predicts; what choosing epochs gained it is not known")
    if keep == "last":
        return Selection(images, 0.0, "the last epoch predicts, so none was chosen")
    if keep != "best":
        return Selection(
            images, None, f"trainer.keep={keep} predicts with a mix of epochs; what choosing them gained is not known"
        )
    if not fold.val_counts.exists():
        return Selection(images, None, "an earlier version trained this run, which did not keep the counts of epochs")
    found, best, monitor = EpochCounts.read(fold.val_counts), int(facts["best_epoch"]), str(facts["monitor"])
    if monitor not in MONITORS or not 1 <= best <= len(found.counts):
        return Selection(images, None, f"{fold.done.name} names no epoch and score that were counted")
    return selection_of_fold(found, best, (monitor, job.config.inference.tune_for), groups)
