"""A process that is killed between any two changes of the file system loses nothing: what follows ends bit-identical.

`driver.py` enumerates the changes; on a CPU every try must end with the very files of an undisturbed run. A few points
of each stage belong to `make test`, all of them to `make test-slow`, which prints the table of `docs/results.md`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("driver.py")

TINY = [
    "dataset.train=8",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=2",
    "name=k",
]


def enumerated(place: Path, **task: Any) -> dict[str, Any]:
    """What the driver finds, in a process without threads to fork."""
    done = subprocess.run(
        [sys.executable, str(DRIVER), json.dumps(task)], check=False, capture_output=True, text=True, cwd=place
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("average", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_point_of_a_folds_training(average: bool, tmp_path: Path) -> None:
    """Three epochs, then two that begin from the best weights, with a snapshot each."""
    settings = {"average": average, "snapshots": True, "keep": "best"}
    found = enumerated(tmp_path, run=str(tmp_path / "fold_0"), first=("fold", settings), then=("fold", settings))
    assert found["changes"] > 30
    assert found["killed"] >= found["changes"] - 1
    assert found["wrong"] == []
    assert any("best_" in change for change in found["seen"])
    assert any("previous.ckpt" in change or "last.ckpt" in change for change in found["seen"])


@pytest.mark.parametrize("keep", ["average", pytest.param("last", marks=pytest.mark.slow)])
def test_every_point_of_a_folds_training_that_keeps_other_weights(keep: str, tmp_path: Path) -> None:
    """Epochs that may become part of the average come and go; it is made of two and replaces them."""
    settings = {"average": False, "snapshots": False, "keep": keep}
    found = enumerated(tmp_path, run=str(tmp_path / "fold_0"), first=("fold", settings), then=("fold", settings))
    assert found["killed"] >= found["changes"] - 1 > 30
    assert found["wrong"] == []
    written = ("epoch_", "average.safetensors") if keep == "average" else ("last.safetensors",)
    for name in written:
        assert any(name in change for change in found["seen"]), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run `k`, and a copy of it that tries start from."""
    place = tmp_path_factory.mktemp("finished")
    call = [sys.executable, str(ROOT / "scripts" / "train.py"), *TINY]
    subprocess.run(call, check=True, capture_output=True, cwd=place, timeout=250)
    shutil.copytree(place / "outputs" / "k", place / "before" / "k")
    return place


CASES = {
    "train": (("train", TINY), ("train", TINY), False),
    "all": (("train", [*TINY, "trainer.folds=[all]"]), ("train", [*TINY, "trainer.folds=[all]"]), True),
    "tune": (("tune", ["name=k"]), ("train", TINY), True),
    "predict": (("predict", ["name=k"]), ("train", TINY), True),
    "submit": (("submit", ["name=k"]), ("train", TINY), True),
    "report": (("report", ["name=k"]), ("train", TINY), True),
}
"""Stage → what is killed, what goes on, whether it starts from a finished run."""


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("stage", "points"),
    [pytest.param("train", 3, id="train-few"), *(pytest.param(stage, 0, marks=pytest.mark.slow) for stage in CASES)],
)
def test_a_stage_that_is_killed_anywhere(stage: str, points: int, finished: Path, table: Callable[[str], None]) -> None:
    first, then, starts_finished = CASES[stage]
    before = str(finished / "before" / "k") if starts_finished else None
    run = str(finished / "outputs" / "k")
    found = enumerated(finished, run=run, first=first, then=then, before=before, points=points)
    table(f"killed {stage}: {found['changes']} changes, {found['killed']} kills, {len(found['wrong'])} wrong")
    assert found["wrong"] == []
    assert found["killed"] >= 3
    assert found["files"] > 15


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("points", [pytest.param(3, id="few"), pytest.param(0, id="all", marks=pytest.mark.slow)])
def test_an_ensemble_that_is_killed_anywhere(points: int, finished: Path, table: Callable[[str], None]) -> None:
    """The blend of a run with a copy of itself goes on where it stopped, instead of standing in its own way."""
    if not (finished / "outputs" / "b").exists():
        shutil.copytree(finished / "before" / "k", finished / "outputs" / "b")
        shutil.copytree(finished / "before" / "k", finished / "outputs" / "k", dirs_exist_ok=True)
    call = ("ensemble", ["name=blend", "runs=[k,b]"])
    found = enumerated(finished, run=str(finished / "outputs" / "blend"), first=call, then=call, points=points)
    table(f"killed ensemble: {found['changes']} changes, {found['killed']} kills, {len(found['wrong'])} wrong")
    assert found["wrong"] == []
    assert found["killed"] >= 3
