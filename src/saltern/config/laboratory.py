"""The loss laboratory as typed dataclasses: the recipe of a run, and the losses to try on it."""

import re
from dataclasses import dataclass, field
from typing import Any

from saltern.config.answers import different_seeds
from saltern.config.losses import parse_loss
from saltern.config.schema import RunConfig
from saltern.config.training import ALL_IMAGES, AUTO
from saltern.errors import ConfigError, unknown

COLUMNS = ("iou", "dice", "precision_tgs")
"""Scores of an image that losses may be compared by; a test holds them against the metrics."""


@dataclass(kw_only=True)
class SearchConfig:
    """A short training of each loss at each rate, on one fold and the first seed, so that none has a worse rate."""

    rates: list[float] = field(default_factory=lambda: [0.33, 1.0, 3.0])
    """Factors on the learning rates of the recipe; [1] is no search."""
    share: float = 0.5
    """Of the recipe's epochs that a search takes, over 0 to 1."""
    epochs: int | None = None
    """Its number of epochs, in place of `share`."""
    fold: int | None = None
    """The fold it is trained on; null: the first of the laboratory."""


@dataclass(kw_only=True)
class LaboratoryConfig(RunConfig):
    """One recipe, trained with every loss of a list. `configs/losses.yaml` composes it; `seed` is set by `seeds`."""

    losses: dict[str, Any] = field(default_factory=dict)
    """Name → the loss of every phase as text, such as `dice` or `0.9*lovasz_hinge(symmetric=true)+0.1*bce`; or a list
    of texts, one a phase. A loss of N phases has the recipe's first N, and the last of them the epochs of all that
    follow: each loss is trained for as many epochs."""
    only: list[str] | None = None
    """Names of `losses` that are tried; null: all of them."""
    seeds: list[int] = field(default_factory=lambda: [0, 1])
    """Each loss is trained with each of these."""
    baseline: str = "bce"
    """The loss that all others are compared with."""
    score: str | None = None
    """What they are compared by, a column of `oof_nested.csv` (iou, dice, precision_tgs); null: what
    `inference.tune_for` is a mean of."""
    search: SearchConfig = field(default_factory=SearchConfig)
    finish: bool = False
    """Take each run to its end, with test probabilities and a submission; false: the comparison needs none."""

    def tried(self) -> dict[str, list[str]]:
        """Name → the loss of each phase, as text, of those that are to be tried, the baseline first."""
        names = [self.baseline, *(name for name in self.only or self.losses if name != self.baseline)]
        return {name: _phases(self.losses[name]) for name in names}


def _phases(raw: Any) -> list[str]:
    return [str(item) for item in raw] if isinstance(raw, list) else [str(raw)]


def check_laboratory(config: LaboratoryConfig) -> None:
    """Refuse a laboratory that could not be begun.

    Raises:
        ConfigError: names the first key that is wrong.
    """
    _check_losses(config)
    if not different_seeds(config.seeds):
        raise ConfigError(f"seeds={config.seeds}: expected one or more different whole numbers from 0 on, as in [0,1].")
    if config.score is not None and config.score not in COLUMNS:
        raise ConfigError(f"score: {unknown('column', config.score, COLUMNS)}")
    _check_search(config.search)
    _check_recipe(config)
    _check_lengths(config)


def _check_losses(config: LaboratoryConfig) -> None:
    for name, raw in config.losses.items():
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,60}", str(name)) is None:
            raise ConfigError(
                f"losses.{name}: expected a name of letters, digits, - and _: a folder is named after it."
            )
        if not isinstance(raw, str | list) or not raw or not all(isinstance(text, str) for text in raw):
            raise ConfigError(
                f"losses.{name}={raw!r}: expected text such as 0.9*lovasz_hinge+0.1*bce, or a list of it."
            )
        for text in _phases(raw):
            parse_loss(text, f"losses.{name}")
    for key, names in (("only", config.only or []), ("baseline", [config.baseline])):
        for name in names:
            if name not in config.losses:
                raise ConfigError(f"{key}: {unknown('loss of the list', name, list(config.losses))}")
    if len(config.tried()) < 2:
        raise ConfigError(f"losses: only {config.baseline} is there; expected another one to compare it with.")


def _check_search(search: SearchConfig) -> None:
    rates = search.rates
    if not rates or len(set(rates)) < len(rates) or not all(0 < rate < float("inf") for rate in rates):
        raise ConfigError(f"search.rates={rates}: expected different positive factors, such as [0.33,1,3].")
    if not 0 < search.share <= 1:
        raise ConfigError(f"search.share={search.share}: expected over 0, at most 1.")


def _check_recipe(config: LaboratoryConfig) -> None:
    folds, search = config.trainer.folds, config.search
    if config.seed != 0:
        raise ConfigError(f"seed={config.seed}: a laboratory takes seeds=[…], such as seeds=[{config.seed}].")
    if config.overwrite:
        raise ConfigError("overwrite=true: would throw every run of the laboratory away; delete its folder yourself.")
    if config.trainer.batch_size == AUTO:
        raise ConfigError(f"trainer.batch_size={AUTO}: each loss might get another one. Expected a number.")
    if folds is not None and ALL_IMAGES in folds:
        raise ConfigError(f"trainer.folds={folds}: the network of all images is never scored. Expected numbers.")
    if folds is not None and search.fold is not None and search.fold not in folds:
        raise ConfigError(f"search.fold={search.fold}: expected one of trainer.folds={folds}.")
    for name, phase in config.schedule.phases.items():
        if phase.cycles > 1:
            raise ConfigError(
                f"schedule.phases.{name}.cycles={phase.cycles}: phases change their length here. Expected 1."
            )


def _check_lengths(config: LaboratoryConfig) -> None:
    phases, total = config.schedule.phases, sum(phase.epochs for phase in config.schedule.phases.values())
    for name, texts in config.tried().items():
        if len(texts) > len(phases):
            raise ConfigError(
                f"losses.{name} has {len(texts)} phases, the recipe {len(phases)} ({', '.join(phases)}). Choose a "
                "schedule of as many (schedule=…), or leave the loss out (only=[…])."
            )
        least, most = len(texts), total
        if config.search.epochs is not None and not least <= config.search.epochs <= most:
            raise ConfigError(
                f"search.epochs={config.search.epochs}: expected {least} to {most}, one for each phase of {name}."
            )
