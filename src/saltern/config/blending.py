"""Checks of an ensemble's keys: each answers with the key, the value, what was expected."""

import math
from typing import Any

from saltern.config import choices
from saltern.config.answers import one_of
from saltern.config.entries import EnsembleConfig
from saltern.errors import ConfigError, unknown

EQUAL, FITTED = "equal", "fitted"


def check_ensemble(config: EnsembleConfig) -> None:
    """Refuse means that cannot be made; weights of null are `equal`, as they were before the word.

    Raises:
        ConfigError: an unknown way, or weights that are neither a word nor a number of 0 or more for each run.
    """
    for key, known in (("how", choices.ENSEMBLE_MEANS), ("calibrate", choices.CALIBRATIONS)):
        one_of(getattr(config, key), key, known)
    if config.how == "vote" and config.calibrate == "auto":
        raise ConfigError(
            "calibrate='auto': expected none where how=vote, since masks are the same whatever map comes before."
        )
    weights = EQUAL if config.weights is None else config.weights
    if weights in (EQUAL, FITTED):
        config.weights = weights
        return
    if isinstance(weights, str):
        raise ConfigError(
            f"weights: {unknown('word', weights, (EQUAL, FITTED))} Or give a number for each run, such as [2,1]."
        )
    _check_numbers(weights, config.runs)
    config.weights = [float(weight) for weight in weights]


def _check_numbers(weights: Any, runs: list[str]) -> None:
    listed = isinstance(weights, list) and all(
        isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights
    )
    if not listed or not all(0 <= weight < math.inf for weight in weights):
        raise ConfigError(f"weights={weights!r}: expected numbers of 0 or more, one for each of {runs}.")
    if len(weights) != len(runs):
        raise ConfigError(f"weights={weights!r}: {len(weights)} numbers; expected one for each of {runs}.")
    if not any(weights):
        raise ConfigError(f"weights={weights!r}: expected at least one above 0, or no run would count.")
