"""`make losses`: one recipe trained with every loss of a list, each at its best rate, and what that says of them."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel

from saltern.config import LaboratoryConfig
from saltern.config.loss_recipe import Budget
from saltern.config.losses import parse_loss
from saltern.data.folds.assign import fold_numbers
from saltern.errors import ConfigError, RunError
from saltern.files import read_as, write_json
from saltern.hold import hold
from saltern.job import Job
from saltern.losses import build_loss
from saltern.pipeline.loss_evidence import gather_losses
from saltern.pipeline.loss_runs import Laboratory
from saltern.pipeline.rate_search import search_rates
from saltern.progress import Progress
from saltern.report.loss_page import write_losses
from saltern.report.loss_table import LossRow, Rate, summary
from saltern.runs.laboratory import LaboratoryDir

log = logging.getLogger(__name__)


class _Asked(BaseModel):
    """The content of `laboratory.json`."""

    losses: dict[str, list[str]]
    seeds: list[int]
    folds: list[int]
    search: dict[str, Any]


def train_losses(
    config: LaboratoryConfig, overrides: Sequence[str], progress: Progress | None = None
) -> tuple[LaboratoryDir, list[LossRow], list[str]]:
    """Search the rate of every loss, train it with every seed, compare; write `table.csv` and `report.html`.

    Every training is an ordinary run: an interrupted one goes on, a finished one is left as it is. One that failed is
    named and left out. Losses and seeds may be added to a laboratory; anything else is refused.

    Args:
        config: the recipe, and what is asked of it.
        overrides: those of the command line.
        progress: what shows it.

    Returns:
        The folder; a row a loss, the baseline first; and sentences on all of them, with what cannot be said.

    Raises:
        ConfigError: a loss that cannot be trained, another list or budget than the folder was begun with, or a launcher
            of several processes around this one.
        RunError: nothing is left to compare.
    """
    if "RANK" in os.environ or "SLURM_PROCID" in os.environ:
        raise ConfigError(
            "make losses: starts each run by itself; start it without torchrun or srun (trainer.devices=N)."
        )
    for name, texts in config.tried().items():
        for text in texts:
            refuse_idle_loss(text, f"losses.{name}")
    laboratory = Laboratory(config, overrides, progress)
    with hold(laboratory.folder.mark, str(laboratory.folder.path)):
        base, folds = _begin(laboratory)
        rates = search_rates(laboratory, folds)
        trained, failed = _train_all(laboratory, base, folds, rates)
        evidence = gather_losses(config, rates, trained, failed)
        rows = write_losses(laboratory.folder, evidence)
        return laboratory.folder, rows, summary(rows, evidence)


def refuse_idle_loss(text: str, where: str) -> None:
    """Raise a ConfigError for a loss from which no network can learn: not finite, or without a slope.

    It is asked on random logits of a plain and of an empty truth.
    """
    loss = build_loss(parse_loss(text, where))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 16, 16, generator=generator).requires_grad_()
    target = torch.zeros(2, 1, 16, 16, dtype=torch.uint8)
    target[0, :, :8] = 1
    total, _ = loss(logits, target)
    (slope,) = torch.autograd.grad(total, logits, allow_unused=True) if total.requires_grad else (None,)
    if not bool(torch.isfinite(total)) or slope is None or not bool(torch.isfinite(slope).all()):
        raise ConfigError(f"{where}={text!r}: is {float(total):g} on random logits, or its slope is not finite.")
    if not bool(slope.abs().sum() > 1e-12):
        raise ConfigError(f"{where}={text!r}: has no slope on random logits, so no network can learn from it.")


def _begin(laboratory: Laboratory) -> tuple[Job, list[int]]:
    """Write down what is asked, or make sure that the folder was begun with it; gives the recipe and its folds."""
    config, folder = laboratory.config, laboratory.folder
    before = read_as(folder.asked, _Asked, "Delete the laboratory's folder.") if folder.asked.exists() else None
    if before is not None:
        _refuse_other(folder, before, config)
    base = laboratory.recipe()
    folds = sorted(fold_numbers(base.folds) if config.trainer.folds is None else config.trainer.folds)
    for number in (*folds, *([] if config.search.fold is None else [config.search.fold])):
        if number not in folds or number not in fold_numbers(base.folds):
            raise ConfigError(f"fold {number}: there is no such fold; expected some of {fold_numbers(base.folds)}.")
    if before is not None and before.folds != folds:
        raise ConfigError(_other(folder, "trainer.folds", before.folds, folds))
    asked = _Asked(losses=laboratory.losses, seeds=sorted(config.seeds), folds=folds, search=vars(config.search))
    write_json(folder.asked, asked.model_dump())
    return base, folds


def _refuse_other(folder: LaboratoryDir, before: _Asked, config: LaboratoryConfig) -> None:
    """Raise a ConfigError where losses or seeds are gone or changed, or the search is another one."""
    tried = config.tried()
    for name, texts in before.losses.items():
        if name not in tried:
            raise ConfigError(_other(folder, "losses", list(before.losses), list(tried)))
        if tried[name] != texts:
            raise ConfigError(_other(folder, f"losses.{name}", texts, tried[name]))
    if not set(before.seeds) <= set(config.seeds):
        raise ConfigError(_other(folder, "seeds", before.seeds, config.seeds))
    for key, value in vars(config.search).items():
        if before.search.get(key) != value:
            raise ConfigError(_other(folder, f"search.{key}", before.search.get(key), value))


def _other(folder: LaboratoryDir, key: str, old: Any, new: Any) -> str:
    return (
        f"{folder.path}: this laboratory was begun with {key}={old!r}, now it is {new!r}. Losses and seeds may be "
        "added, nothing taken away or changed: give another name=…, or what it was begun with."
    )


def _train_all(
    laboratory: Laboratory, base: Job, folds: list[int], rates: Mapping[str, Rate]
) -> tuple[dict[str, list[Job]], list[str]]:
    """Loss → its trained runs, and the names of the runs that failed."""
    config, folder = laboratory.config, laboratory.folder
    jobs: dict[str, Job] = {}
    for loss, rate in rates.items():
        for seed in config.seeds:
            name = f"{loss}_seed{seed}"
            own = {"seed": seed, "trainer.folds": folds}
            jobs[name] = laboratory.job(folder.runs, name, loss, Budget(rate.factor), own)
    failed = laboratory.train(jobs, finish=config.finish)
    trained = {
        loss: [job for name in _names(loss, config) if name not in failed for job in (jobs[name],)] for loss in rates
    }
    trained = {loss: of_loss for loss, of_loss in trained.items() if of_loss}
    gone = [loss for loss in laboratory.losses if loss not in trained]
    if config.baseline in gone or len(trained) < 2:
        raise RunError(
            f"{folder.path}: no run of {', '.join(gone)} could be trained, so there is nothing to compare with "
            f"{config.baseline}; what each said stands above."
        )
    for job in (job for of_loss in trained.values() for job in of_loss):
        if not job.folds.equals(base.folds):
            raise RunError(
                f"{job.run.folds}: other folds than {base.run.folds}, so scores could not be paired. Has the data set "
                f"changed? Delete {job.run.path} once it is as it was."
            )
    missing = [*failed, *(f"{loss} (no rate of the search could be trained)" for loss in gone if loss not in rates)]
    if missing:
        log.warning("%s: failed and left out; the same command goes on with them", ", ".join(missing))
    return trained, missing


def _names(loss: str, config: LaboratoryConfig) -> Sequence[str]:
    return [f"{loss}_seed{seed}" for seed in config.seeds]
