"""A loss of the laboratory as overrides of `make train`: its phases, its learning rate, its budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from saltern.config.frozen import later_wins
from saltern.config.laboratory import LaboratoryConfig
from saltern.config.overrides import as_meant
from saltern.config.schema import own_keys
from saltern.config.training import ScheduleConfig

OWN = {*own_keys(LaboratoryConfig), "laboratory", "name", "outputs", "overwrite", "seed"}
"""Keys that the laboratory sets by itself for each run."""


@dataclass(frozen=True)
class Budget:
    """How long a training is, and at which rates."""

    factor: float = 1.0
    """On the learning rates of the recipe."""
    epochs: int | None = None
    """Of all phases together; None: those of the recipe."""


def of_the_recipe(overrides: Sequence[str]) -> list[str]:
    """Those of the overrides of `make losses` that describe a run, whatever its loss."""
    return [text for text in overrides if text.lstrip("+~").partition("=")[0].partition(".")[0] not in OWN]


def lengths(schedule: ScheduleConfig, phases: int, epochs: int | None = None) -> list[int]:
    """Epochs of the first `phases` phases of `schedule`, of which the last takes over those of all that follow.

    With `epochs` as many in all, in the same shares as nearly as whole epochs allow, each phase at least one.
    """
    given = [phase.epochs for phase in schedule.phases.values()]
    kept = [*given[: phases - 1], sum(given[phases - 1 :])]
    if epochs is None:
        return kept
    found: list[int] = []
    for place, length in enumerate(kept):
        left, after = epochs - sum(found), phases - place - 1
        share = round(left * length / sum(kept[place:]))
        found.append(min(max(share, 1), left - after))
    return found


def overrides_of(schedule: ScheduleConfig, losses: Sequence[str], budget: Budget) -> list[str]:
    """The overrides that turn the recipe's `schedule` into that of a loss with the text `losses` of each phase."""
    found = []
    names = list(schedule.phases)
    for name, text, epochs in zip(names, losses, lengths(schedule, len(losses), budget.epochs), strict=False):
        phase, key = schedule.phases[name], f"schedule.phases.{name}"
        found += [f"{key}.epochs={epochs}", f"{key}.lr={phase.lr * budget.factor!r}", as_meant(f"{key}.loss={text}")]
        if phase.warmup_epochs and epochs < phase.epochs:  # a shorter phase warms up for as large a part
            found.append(f"{key}.warmup_epochs={phase.warmup_epochs * epochs / phase.epochs!r}")
    return [*found, *(f"~schedule.phases.{name}" for name in names[len(losses) :])]


def run_overrides(recipe: Sequence[str], own: Sequence[str]) -> list[str]:
    """The overrides of `make train` for a run of the `recipe` with its `own` on top.

    What the recipe sets within a phase that the run drops is dropped with it.
    """
    dropped = [f"{text[1:]}." for text in own if text.startswith("~")]
    kept = [text for text in recipe if not text.lstrip("+~").startswith(tuple(dropped))] if dropped else list(recipe)
    return later_wins(kept, list(own))
