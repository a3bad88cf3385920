"""When training ends before its schedule does, and that every process sees it so."""

import logging
import math
import time
from collections.abc import Mapping, Sequence

from saltern.config import TrainerConfig
from saltern.engine.checkpoint import TrainState
from saltern.losses import Position, Schedule
from saltern.runtime.group import Group

log = logging.getLogger(__name__)

HOUR = 3600.0
"""Seconds."""


def best_epochs(lengths: Mapping[str, int], history: Sequence[float]) -> dict[str, int]:
    """Phase → the first of its epochs with its best score, counted over all phases from 1.

    Args:
        lengths: phase → epochs, in order; the last one that began may have had fewer so far.
        history: the score of every finished epoch; phases without one are left out.
    """
    found, first = {}, 0
    for name, length in lengths.items():
        scores = list(history[first : first + length])
        if scores:
            found[name] = first + scores.index(max(scores)) + 1
        first += length
    return found


class Ending:
    """Counts the time of epochs, and writes into `TrainState.ended` which phases take fewer of them than they might.

    What it decides from scores is the same on every process; of time the main process's clock counts for all.
    """

    def __init__(self, config: TrainerConfig, schedule: Schedule, group: Group, where: str) -> None:
        """`where`: what is trained, for the log."""
        self._wait = config.early_stop
        self._monitor = config.monitor
        self._most = math.inf if config.max_hours is None else config.max_hours * HOUR
        self._schedule = schedule
        self._group = group
        self._where = where
        self._began = time.perf_counter()

    def begin(self, state: TrainState) -> None:
        """The clock starts; an interrupted training that has no time left ends here."""
        self._began = time.perf_counter()
        if state.epoch > 0:
            self._end_in_time(state)

    def epoch_done(self, state: TrainState, at: Position) -> None:
        """The epoch `at` is counted in `state`: note its time, and end the phase, or training, where that is due."""
        now = time.perf_counter()
        spent, self._began = self._group.agree(now - self._began), now
        state.seconds += spent
        state.longest = max(state.longest, spent)
        self._end_phase(state, at)
        self._end_in_time(state)

    def _end_phase(self, state: TrainState, at: Position) -> None:
        """End the phase where `early_stop` epochs have passed since its best one; without scores none is late."""
        if self._wait is None or not state.history:
            return
        best = best_epochs(self._schedule.lengths(state.ended), state.history)[at.name]
        if state.epoch - best < self._wait or at.epoch + 1 == self._schedule.lengths(state.ended)[at.name]:
            return
        state.ended[at.name] = at.epoch + 1
        last = state.epoch == self._schedule.total(state.ended)
        if last:
            state.ended_by = "early_stop"
        log.info(
            "%s: %s ends after %d of its %d epochs, with epoch %d, since trainer.early_stop=%d of them were not better "
            "than epoch %d (%s %.4f); %s",
            self._where,
            at.name,
            at.epoch + 1,
            at.phase.epochs,
            state.epoch,
            self._wait,
            best,
            self._monitor,
            state.phase_best[at.name],
            "so does training" if last else "the next phase begins",
        )

    def _end_in_time(self, state: TrainState) -> None:
        """End training where another epoch like the longest one might take it over `max_hours`."""
        total = self._schedule.total(state.ended)
        if state.epoch >= total or state.seconds + state.longest <= self._most:
            return
        left = state.epoch
        for name, length in self._schedule.lengths(state.ended).items():
            state.ended[name] = min(length, left)
            left -= state.ended[name]
        state.ended_by = "max_hours"
        log.warning(
            "%s: training ends after %d of %d epochs: they took %.3g hours, and another one like the longest "
            "(%.3g hours) may not fit into trainer.max_hours=%.3g",
            self._where,
            state.epoch,
            total,
            state.seconds / HOUR,
            state.longest / HOUR,
            self._most / HOUR,
        )
