"""Two processes at once over one run: both end right, or one of them is refused in words, and the run is right."""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forks import Ended
from served import Served
from small_runs import CALLS, TINY, answer, differing, refuse_chaos, refuse_litter, renew
from tries import Tally

pytestmark = pytest.mark.timeout(7200)

SECONDS = 180.0
KILLED = -signal.SIGKILL

Command = tuple[str, ...]
TRAIN: Command = ("train", "name=a", *TINY)
OTHER: Command = ("train", "name=a", *TINY, "seed=5")
OVER: Command = ("train", "name=a", *TINY, "overwrite=true")

PAIRS: dict[str, tuple[Command, Command, bool]] = {
    "train, train": (TRAIN, TRAIN, False),
    "train, train otherwise": (TRAIN, OTHER, False),
    "train, train anew": (TRAIN, OVER, False),
    "train anew, train anew": (OVER, OVER, True),
    "folds, train": (("folds", *TRAIN[1:]), TRAIN, False),
    "train, train by fold": ((*TRAIN, "trainer.folds=[0]"), (*TRAIN, "trainer.folds=[1]"), False),
    "tune, tune": (("tune", *CALLS["tune"]), ("tune", *CALLS["tune"]), True),
    "tune, train": (("tune", *CALLS["tune"]), TRAIN, True),
    "tune, train anew": (("tune", *CALLS["tune"]), OVER, True),
    "predict, predict": (("predict", *CALLS["predict"]), ("predict", *CALLS["predict"]), True),
    "predict, submit": (("predict", *CALLS["predict"]), ("submit", *CALLS["submit"]), True),
    "submit, submit": (("submit", *CALLS["submit"]), ("submit", *CALLS["submit"]), True),
    "report, tune": (("report", *CALLS["report"]), ("tune", *CALLS["tune"]), True),
    "ensemble, ensemble": (("ensemble", *CALLS["ensemble"]), ("ensemble", *CALLS["ensemble"]), True),
    "ensemble, tune": (("ensemble", *CALLS["ensemble"]), ("tune", *CALLS["tune"]), True),
    "ensemble, train anew": (("ensemble", *CALLS["ensemble"]), OVER, True),
    "compare, tune": (("compare", *CALLS["compare"]), ("tune", *CALLS["tune"]), True),
}
"""Two commands, and whether the run `a` is finished when they begin."""
QUICK = ("train, train", "train, train otherwise", "ensemble, ensemble")


def together(served: Served, place: Path, pair: tuple[Command, Command], delay: float) -> tuple[Ended, Ended]:
    first = served.start(*pair[0], cwd=place)
    time.sleep(delay)
    second = served.start(*pair[1], cwd=place)
    return served.wait(first), served.wait(second)


def ends_right(served: Served, source: Path, place: Path, seed: bool, what: str) -> None:
    """The command that began the run ends with what it gives alone; `seed`: it was begun by OTHER."""
    refuse_chaos(served.run(*(OTHER if seed else TRAIN), cwd=place), f"{what}, then", (0,))
    if not seed:
        right = served.state(source / "outputs" / "a")
        changed = differing(right, served.state(place / "outputs" / "a"))
        assert set(changed) <= {"config.yaml"}, f"{what}: {changed} differ"  # holds the word overwrite
    refuse_litter(place, what)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PAIRS]
)
def test_two_at_once(
    name: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    one, other, finished = PAIRS[name]
    rng, pairs = random.Random(name), tally(f"concurrency, {name}", SECONDS)

    def attempt(delay: float, pair: tuple[Command, Command]) -> None:
        what = f"{name}, {delay:.2f} s apart"
        renew(source, tmp_path, *(("a", "b") if finished else ("b",)))
        ended = together(served, tmp_path, pair, delay)
        for done in ended:
            refuse_chaos(done, what)
        assert 0 in (ended[0].status, ended[1].status) or len({*pair}) > 1, what
        config = (tmp_path / "outputs" / "a" / "config.yaml").read_text()
        ends_right(served, source, tmp_path, "seed: 5" in config.splitlines(), what)
        answer(max(ended, key=lambda done: done.status))

    for number in range(1 if scale == 1 else 8):
        delay = rng.choice((0, 0.05, rng.uniform(0, 1.5)))
        pair = (one, other) if number % 2 == 0 else (other, one)
        pairs.attempt(f"{delay:.2f} s apart", lambda delay=delay, pair=pair: attempt(delay, pair))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "tune, tune" else pytest.mark.slow) for name in PAIRS]
)
def test_one_of_two_is_killed(
    name: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    """The other goes on or is refused; nobody is kept out by the dead."""
    one, other, finished = PAIRS[name]
    rng, pairs = random.Random(name), tally(f"concurrency, killed, {name}", SECONDS)

    def attempt(delay: float) -> None:
        what = f"{name}, the first killed after {delay:.2f} s"
        renew(source, tmp_path, *(("a", "b") if finished else ("b",)))
        first = served.start(*one, cwd=tmp_path)
        second = served.start(*other, cwd=tmp_path)
        time.sleep(delay)
        os.kill(first, signal.SIGKILL)
        refuse_chaos(served.wait(first), what, (0, 2, KILLED))
        done = served.wait(second)
        refuse_chaos(done, what)
        refuse_chaos(served.run(*one, cwd=tmp_path), f"{what}, then", (0, 2))
        config = tmp_path / "outputs" / "a" / "config.yaml"
        ends_right(served, source, tmp_path, config.exists() and "seed: 5" in config.read_text().splitlines(), what)
        answer(done)

    for _ in range(1 if scale == 1 else 5):
        delay = rng.uniform(0.1, 2)
        pairs.attempt(f"killed after {delay:.2f} s", lambda delay=delay: attempt(delay))
