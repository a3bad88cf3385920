"""The smallest of runs, finished once, and copies of it for tries of faults."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from forks import Ended
from served import Served

from saltern.errors import RunError

SCREEN = 10
"""Lines of an answer to a fault."""

SAMPLE = ["dataset.train=8", "dataset.test=2", "dataset.side=32"]
TINY = [
    *SAMPLE,
    "folds.n=2",
    "model.encoder=mobilenet_v2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=2",
]

CALLS: dict[str, tuple[str, ...]] = {
    "train": ("name=n", *TINY),
    "check": ("name=c", *SAMPLE),
    "preview": ("name=p", *SAMPLE),
    "folds": ("name=f", *TINY),
    "tune": ("name=a",),
    "predict": ("name=a",),
    "submit": ("name=a",),
    "report": ("name=a",),
    "ensemble": ("name=e", "runs=[a,b]"),
    "compare": ("name=v", "runs=[a,b]"),
    "score": ("submission=outputs/a/submission.csv", "truth=data/sample/test_truth.csv"),
}
"""Stage → its overrides where `a` and `b` are finished."""

OUTCOMES = {"check": "c", "preview": "preview", "folds": "f", "train": "n", "ensemble": "e", "compare": "compare/v"}
"""Stage → what it makes below outputs/; the others renew `a`."""


def place_with_runs(served: Served, folder: Path) -> Path:
    """`folder` with a sample data set, the finished runs `a` and `b`, and `e`, the mean of both."""
    served.succeed("train", "name=a", *TINY, cwd=folder)
    shutil.copytree(folder / "outputs" / "a", folder / "outputs" / "b")
    served.succeed("ensemble", "name=e", "runs=[a,b]", cwd=folder)
    return folder


def renew(source: Path, place: Path, *names: str, data: bool = True) -> None:
    """Make `place` hold the runs `names` of `source`, its `data` set, and nothing else."""
    for folder in ("outputs", "data"):
        shutil.rmtree(place / folder, ignore_errors=True)
    if data:
        shutil.copytree(source / "data", place / "data")
    (place / "outputs").mkdir(parents=True)
    for name in names:
        shutil.copytree(source / "outputs" / name, place / "outputs" / name)


def outcome(served: Served, stage: str, place: Path) -> dict[str, str]:
    """What a stage makes or renews: every artifact that must come out the same → its hash."""
    folder = place / "outputs" / OUTCOMES.get(stage, "a")
    found = served.state(folder)
    if "dataset_report.json" in found:
        found["dataset_report.json"] = str({**json.loads((folder / "dataset_report.json").read_text()), "seconds": 0})
    return found


def differing(right: dict[str, str], now: dict[str, str]) -> list[str]:
    """The artifacts in which two outcomes differ."""
    return sorted(key for key in right.keys() | now.keys() if right.get(key) != now.get(key))


def answer(done: Ended) -> None:
    """Count a refusal as one: raise its words for the tally."""
    if done.status:
        raise RunError(done.err)


def refuse_chaos(done: Ended, what: str, allowed: tuple[int, ...] = (0, 2)) -> None:
    """Fail unless a command ended with an allowed status, in words, within a screen, without a traceback."""
    said = f"{what}: {done.status}\n{done.out[-500:]}\n{done.err[-2500:]}"
    assert done.status in allowed, said
    assert "Traceback" not in done.out + done.err, said
    assert len(done.err.splitlines()) <= SCREEN, said
    assert done.status in (0, -9) or done.err.strip(), f"{what}: without a word"


def refuse_litter(place: Path, what: str, *, cards: bool = False) -> None:
    """Fail where something half written lies in the runs; `cards`: that of a holder, which the next one replaces, may.

    A stop may come while the card itself is taken away.
    """
    found = [str(path.relative_to(place)) for path in place.rglob("*") if path.name.endswith(".tmp")]
    held = [str(path) for path in place.rglob(".held/*") if not (cards and path.suffix == ".json")]
    assert not found + held, f"{what}: left {found + held}"


def spread(numbers: int, count: int) -> list[int]:
    """At most `count` of 1…numbers, evenly, with both ends."""
    if count >= numbers:
        return list(range(1, numbers + 1))
    return sorted({1 + round(index * (numbers - 1) / max(count - 1, 1)) for index in range(count)})


def may_mount(folder: Path) -> bool:
    """Whether this process may mount a file system of its own."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    try:
        with small_disk(folder, 64):
            return True
    except subprocess.CalledProcessError:
        return False


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int, *, mount: bool = True) -> Iterator[None]:
    """A disk of so many kilobytes at `folder`; without `mount` the folder as it is."""
    folder.mkdir(parents=True, exist_ok=True)
    if not mount:
        yield
        return
    _call("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "saltern-test", str(folder))
    try:
        yield
    finally:
        _call("umount", "-l", str(folder))


def resize(folder: Path, kilobytes: int) -> None:
    """Another size for the disk at `folder`, which keeps what it holds."""
    _call("mount", "-o", f"remount,size={kilobytes}k", str(folder))


@contextlib.contextmanager
def read_only(folder: Path, *, mount: bool) -> Iterator[None]:
    """Nothing below `folder` can be written: by a mount, or by taking rights away, which root does not heed."""
    if mount:
        _call("mount", "--bind", str(folder), str(folder))
        _call("mount", "-o", "remount,ro,bind", str(folder))
    else:
        folder.chmod(0o555)
    try:
        yield
    finally:
        if mount:
            _call("umount", "-l", str(folder))
        else:
            folder.chmod(0o755)


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
