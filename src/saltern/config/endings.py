"""Checks of what is trained, and of what may end it before its schedule does."""

from typing import Any

from saltern.config.schema import RunConfig
from saltern.config.training import ALL_IMAGES
from saltern.errors import ConfigError


def check_endings(config: RunConfig) -> None:
    """Refuse folds that cannot be, and an early end that the schedule does not bear.

    Raises:
        ConfigError: names the first key that is wrong.
    """
    trainer = config.trainer
    _check_folds(trainer.folds)
    wait, hours = trainer.early_stop, trainer.max_hours
    if wait is not None and wait < 1:
        raise ConfigError(f"trainer.early_stop={wait}: expected null or at least 1 epoch.")
    if hours is not None and not hours > 0:
        raise ConfigError(f"trainer.max_hours={hours}: expected null or a positive number of hours.")
    for name, phase in config.schedule.phases.items():
        if wait is not None and phase.snapshots:
            raise ConfigError(
                f"trainer.early_stop={wait}: schedule.phases.{name} keeps snapshots at the ends of the cycles of "
                "cosine_restarts, which rest on its length, and scores fall with each restart. Expected null, or "
                f"schedule.phases.{name}.snapshots=false."
            )


def _check_folds(folds: list[Any] | None) -> None:
    if folds is None or folds == [ALL_IMAGES]:
        return
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in folds)
    if not folds or not whole or len(set(folds)) != len(folds):
        raise ConfigError(
            f"trainer.folds={folds!r}: expected null, a list of different fold numbers from 0, or [{ALL_IMAGES}] alone "
            "(one network of every labelled image, once folds are trained)."
        )
