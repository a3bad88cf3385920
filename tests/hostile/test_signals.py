"""Ctrl-C and SIGTERM at any moment of any stage: 130 or 143, words, nothing half written, and the same command ends.

The signal comes before a chosen change of the file system, where it can hurt most, or, in the slow tests, at a time of
its own choosing.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import Ended
from served import Served
from small_runs import CALLS, differing, outcome, refuse_chaos, refuse_litter, renew, spread
from tries import Tally

pytestmark = pytest.mark.timeout(7200)

SECONDS = 120.0
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
QUICK = ("train", "predict", "ensemble")


def settles(
    stage: str, served: Served, place: Path, done: Ended, stop: signal.Signals, right: dict[str, str], what: str
) -> None:
    """It ended as it should, and the same command then ends with what an undisturbed one gives."""
    refuse_chaos(done, what, (0, STATUS[stop]))  # 0: it had all but ended
    assert done.status == 0 or "stopped" in done.err, done.err
    refuse_litter(place, what, cards=done.status != 0)
    again = served.run(stage, *CALLS[stage], cwd=place)
    refuse_chaos(again, f"{what}, then", (0,))
    if stage != "score":
        assert differing(right, outcome(served, stage, place)) == [], what
    refuse_litter(place, f"{what}, then")


def prepare(stage: str, source: Path, place: Path) -> None:
    renew(source, place, *(() if stage == "train" else ("a", "b")), data=stage not in ("train", "check", "preview"))


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage in QUICK else pytest.mark.slow) for stage in CALLS]
)
def test_a_signal_before_any_change(
    stage: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    prepare(stage, source, tmp_path)
    changes = served.succeed(stage, *CALLS[stage], cwd=tmp_path).seen
    right = {} if stage == "score" else outcome(served, stage, tmp_path)
    signals = tally(f"signals, {stage}", SECONDS)

    def attempt(number: int, stop: signal.Signals) -> None:
        what = f"{stage}, {stop.name} before {number}, {changes[number - 1]}"
        prepare(stage, source, tmp_path)
        done = served.run(stage, *CALLS[stage], cwd=tmp_path, before=number, sends=int(stop))
        settles(stage, served, tmp_path, done, stop, right, what)

    numbers = spread(len(changes), 60) if scale > 1 else [min(2 + len(changes) // 2, len(changes))]
    for number in numbers:
        stop = (signal.SIGINT, signal.SIGTERM)[number % 2]
        signals.attempt(f"before change {number}", lambda number=number, stop=stop: attempt(number, stop))


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage == "tune" else pytest.mark.slow) for stage in CALLS]
)
def test_a_signal_at_any_time(
    stage: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    prepare(stage, source, tmp_path)
    began = time.monotonic()
    served.succeed(stage, *CALLS[stage], cwd=tmp_path)
    whole, rng = time.monotonic() - began, random.Random(stage)
    right = {} if stage == "score" else outcome(served, stage, tmp_path)
    signals = tally(f"signals at any time, {stage}", SECONDS)

    def attempt(delay: float, stop: signal.Signals) -> None:
        prepare(stage, source, tmp_path)
        process = served.start(stage, *CALLS[stage], cwd=tmp_path)
        time.sleep(delay)
        os.kill(process, stop)
        done = served.wait(process)
        if done.status == -stop or (done.status == 1 and not done.out):
            return  # before the script began to listen: in its first imports
        settles(stage, served, tmp_path, done, stop, right, f"{stage}, {stop.name} after {delay:.2f} s")

    for number in range(scale):
        delay, stop = rng.uniform(0.15, 1) * whole, (signal.SIGINT, signal.SIGTERM)[number % 2]
        signals.attempt(f"after {delay:.2f} s", lambda delay=delay, stop=stop: attempt(delay, stop))
