"""A disk that is full, limited or read-only at any moment of any stage: a line of words, and then the same command.

The disk fills before a chosen change of the file system (from then on every write fails), is a small one of its own
where the test may mount one, or refuses every write. What follows with room must end with the very files of an
undisturbed run.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from served import Served
from small_runs import (
    CALLS,
    answer,
    differing,
    may_mount,
    outcome,
    read_only,
    refuse_chaos,
    refuse_litter,
    renew,
    resize,
    small_disk,
    spread,
)
from tries import Tally

pytestmark = pytest.mark.timeout(7200)

SECONDS = 120.0
ROOMY = 400_000
"""Kilobytes of a disk that everything fits on."""
WRITING = [stage for stage in CALLS if stage != "score"]
DRAWING = ("train", "check", "preview")
"""Stages that draw the sample data set themselves."""


@pytest.fixture
def mounts(tmp_path: Path) -> bool:
    """Whether there can be disks of their own; where not, limits of files and rights of folders stand for them."""
    if may_mount(tmp_path / "mount"):
        return True
    warnings.warn("no mounts here: RLIMIT_FSIZE and folder rights stand for small and read-only disks", stacklevel=1)
    return False


def prepare(stage: str, source: Path, place: Path) -> None:
    renew(source, place, *(() if stage == "train" else ("a", "b")), data=stage not in DRAWING)


def ends_right(stage: str, served: Served, place: Path, right: dict[str, str], what: str) -> None:
    """The same command, with room again."""
    refuse_chaos(served.run(stage, *CALLS[stage], cwd=place), f"{what}, then", (0,))
    assert differing(right, outcome(served, stage, place)) == [], what
    refuse_litter(place, what)


def points(changes: list[str], scale: int) -> list[int]:
    """Sixty changes, or one in the middle and, since it is written by other means, TensorBoard's file."""
    if scale > 1:
        return spread(len(changes), 60)
    events = [number for number, change in enumerate(changes, 1) if "tfevents" in change]
    return [min(2 + len(changes) // 2, len(changes)), *events[:1]]


def stages(*quick: str) -> list[object]:
    """All that write; those that are not `quick` only in the slow tests."""
    return [pytest.param(stage, marks=() if stage in quick else pytest.mark.slow) for stage in WRITING]


@pytest.mark.parametrize("stage", stages("train", "tune", "ensemble", "check"))
def test_a_disk_that_fills_before_any_change(
    stage: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    prepare(stage, source, tmp_path)
    changes = served.succeed(stage, *CALLS[stage], cwd=tmp_path).seen
    right, disk = outcome(served, stage, tmp_path), tally(f"disk, {stage}", SECONDS)

    def attempt(number: int) -> None:
        what = f"{stage}, full before {number}, {changes[number - 1]}"
        prepare(stage, source, tmp_path)
        done = served.run(stage, *CALLS[stage], cwd=tmp_path, before=number, file_bytes=0)
        refuse_chaos(done, what)
        refuse_litter(tmp_path, what)
        assert done.status == 0 or "StorageError: " in done.err, done.err
        ends_right(stage, served, tmp_path, right, what)
        answer(done)

    for number in points(changes, scale):
        disk.attempt(f"before change {number}", lambda number=number: attempt(number))


@pytest.mark.parametrize("stage", stages("train"))
def test_a_small_disk(
    stage: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path, mounts: bool
) -> None:
    disk, place = tally(f"disk {'of its own' if mounts else 'by limits'}, {stage}", SECONDS), tmp_path / "mount"
    place.mkdir(exist_ok=True)

    def attempt(kilobytes: int, right: dict[str, str]) -> None:
        prepare(stage, source, place)
        if mounts:
            resize(place, sum(path.stat().st_blocks for path in place.rglob("*")) // 2 + kilobytes)
        done = served.run(stage, *CALLS[stage], cwd=place, file_bytes=None if mounts else kilobytes << 10)
        refuse_chaos(done, f"{stage} with {kilobytes} kB")
        assert done.status == 0 or not mounts or ("No space left" in done.err and "bytes are free" in done.err), (
            done.err
        )
        refuse_litter(place, f"{stage} with {kilobytes} kB")
        if mounts:
            resize(place, ROOMY)
        ends_right(stage, served, place, right, f"{stage} with {kilobytes} kB")
        answer(done)

    whole = 60_000 if stage == "train" else 200
    with small_disk(place, ROOMY, mount=mounts):
        prepare(stage, source, place)
        served.succeed(stage, *CALLS[stage], cwd=place)
        right = outcome(served, stage, place)
        for part in (40,) if scale == 1 else range(0, 100, 4):
            kilobytes = 4 + whole * part // 100
            disk.attempt(f"{kilobytes} kB", lambda kilobytes=kilobytes: attempt(kilobytes, right))


@pytest.mark.parametrize("stage", stages("train", "compare"))
def test_a_folder_that_is_read_only(
    stage: str, scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path, mounts: bool
) -> None:
    """The outputs, the whole place, or one folder of the run alone."""
    disk = tally(f"read-only, {stage}", SECONDS)
    inner = ["a", "a/oof", "a/test", "a/done", "a/fold_0", "a/fold_1/tensorboard", "b"]
    folders = ["outputs", *(("data", ".", *(f"outputs/{name}" for name in inner)) if scale > 1 else ())]
    renew(source, tmp_path, "a", "b")
    before = served.state(tmp_path / "outputs" / "a")

    def attempt(folder: Path) -> None:
        renew(source, tmp_path, "a", "b")
        with read_only(folder, mount=mounts):
            done = served.run(stage, *CALLS[stage], cwd=tmp_path)
        refuse_chaos(done, f"{stage}, {folder.relative_to(tmp_path)} read-only")
        if folder.name == "outputs":
            assert done.status == 2
            assert served.state(tmp_path / "outputs" / "a") == before, "nothing was touched"
        answer(done)

    for name in folders:
        disk.attempt(name, lambda name=name: attempt(tmp_path / name))
