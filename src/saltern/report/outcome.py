"""What a finished run tells TensorBoard: its settings, and the scores that came of them."""

from collections.abc import Mapping
from typing import Any

from saltern.config import RunConfig, settings_of
from saltern.report.events import hparams, scalar, write_events
from saltern.runs import RunDir

GROUPS = ("seed", "dataset.layout", "folds", "model", "schedule", "optim", "trainer")
"""The settings that are told: those that people vary to see what happens."""


def write_outcome(run: RunDir, config: RunConfig, scores: Mapping[str, Any]) -> None:
    """Write `tensorboard/` of the run: a row on the page of settings and scores, in place of an older one.

    Args:
        run: Its folder.
        config: Frozen there.
        scores: `scores.json`.

    Raises:
        StorageError: the disk is full, and the like.
    """
    final = final_scores(scores)
    settings = {key: value for key, value in settings_of(config, GROUPS).items() if value is not None}
    shown = {
        key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in settings.items()
    }
    values = [*hparams(run.name, shown, list(final)), *(scalar(tag, value) for tag, value in final.items())]
    write_events(run.tensorboard, 0, values)


def final_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Tag → number: every score at the decision, out of fold and nested, and the estimate, where there is one."""
    nested = scores.get("nested")
    parts = {"final": scores["pooled"]["at_decision"], "nested": nested["scores"] if nested else {}}
    found = {f"{group}/{name}": value for group, part in parts.items() for name, value in part.items()}
    if scores.get("estimate") is not None:
        found[f"estimate/{scores['tuned_for']}"] = scores["estimate"]
    return {tag: float(value) for tag, value in found.items() if isinstance(value, int | float)}
