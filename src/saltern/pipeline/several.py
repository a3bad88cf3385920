"""A list of runs to be trained, one after another, each in a process of its own: what fails takes no other down."""

import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from saltern.config import CONFIG_DIR

log = logging.getLogger(__name__)

TRAIN = CONFIG_DIR.parent / "scripts" / "train.py"
"""What trains a run, as `make train` does."""
PATIENCE = 60.0
"""Seconds that a run gets to put away what it was writing when it is stopped."""


@dataclass(frozen=True)
class Planned:
    """A run to be trained."""

    name: str
    overrides: list[str]
    """Those of `make train`, name= among them."""
    part: bool = False
    """Train the folds of `trainer.folds` and leave what follows on them, as `make train ARGS=-m` does."""


def train_several(runs: Sequence[Planned]) -> dict[str, int]:
    """Train and finish every run, whatever becomes of those before it; each says what it does on this terminal.

    Runs that are finished already say so and are left as they are. A stop (Ctrl-C, SIGTERM) is handed on to the run
    that is trained, and ends the list.

    Returns:
        Run → exit status, of those that failed; negative where a signal ended one.
    """
    failed = {}
    for place, run in enumerate(runs, 1):
        log.info("%s: run %d of %d", run.name, place, len(runs))
        status = _train(["-m", *run.overrides] if run.part else run.overrides)
        if status:
            failed[run.name] = status
            log.warning("%s failed with exit status %d; what follows does not rest on it", run.name, status)
    return failed


def _train(overrides: list[str]) -> int:
    with subprocess.Popen([sys.executable, str(TRAIN), *overrides]) as process:
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
