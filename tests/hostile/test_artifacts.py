"""Artifacts of finished runs, damaged in many ways, before the stages that read them: right, or refused in words.

Right means that a stage that ends with 0 leaves the very run that it would have left without the damage. What a
refusal tells the user to do must mend the run.
"""

import functools
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from served import Served
from small_runs import CALLS, TINY, answer, differing, refuse_chaos, refuse_litter, renew
from tries import Tally

from saltern.engine.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.timeout(7200)

SECONDS = 120.0

JSON = ("scores.json", "decision.json", "environment.json", "fold_0/done.json", "done/folds.json", "done/tune.json",
        "done/predict.json", "done/submit.json", "done/report.json", "folds.json")  # fmt: skip
TABLES = (
    "folds.csv",
    "oof_scores.csv",
    "oof_nested.csv",
    "truth.csv",
    "fold_0/metrics.csv",
    "submission.csv",
    "config.yaml",
)
TENSORS = (
    "oof/fold_1_0_00000.safetensors",
    "test/test_0_00000.safetensors",
    "fold_0/best.safetensors",
    "fold_0/val_counts.safetensors",
)
OTHERS = ("fold_1/last.ckpt", "report.html")
OF_THE_MEAN = ("ensemble.json", "environment.json", "folds.csv", "oof/oof_0_00000.safetensors", "decision.json",
               "test/test_0_00000.safetensors", "scores.json")  # fmt: skip

STAGES = {
    "a": {
        "train": ("name=a", *TINY),
        "folds": ("name=a", *TINY),
        **{stage: CALLS[stage] for stage in ("tune", "predict", "submit", "report", "compare", "ensemble")},
    },
    "e": {"ensemble": CALLS["ensemble"], **{stage: ("name=e",) for stage in ("tune", "submit", "report")}},
}
"""Run that is damaged → stage → its overrides."""

TEXTS = {
    "empty": b"",
    "object": b"{}",
    "list": b"[]",
    "null": b"null",
    "nan": b"NaN",
    "text": b'"x"',
    "digits": b"1" * 5000,
    "bytes": b"\xff\xfe\x00" * 50,
    "deep": b"[" * 100_000,
    "wide": b"x" * 3_000_000,
}


def cut(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(1, path.stat().st_size)])


def flip(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def other_values(path: Path, rng: random.Random) -> None:
    """Every value of a mapping, or a few of them, replaced by something of another type."""
    content = json.loads(path.read_text())
    for key in rng.sample(list(content), max(1, len(content) // rng.choice((1, 3)))):
        content[key] = rng.choice(([1, {"x": None}], None, "y", {}, -1, 1e400 if rng.random() < 0.3 else 7))
    path.write_text(json.dumps(content))


def without_a_key(path: Path, rng: random.Random) -> None:
    content = json.loads(path.read_text())
    del content[rng.choice(list(content))]
    path.write_text(json.dumps(content))


def other_tensors(path: Path, rng: random.Random) -> None:
    """Whole safetensors that hold something else."""
    tensors = load_file(path)
    name = rng.choice(list(tensors))
    kind = rng.choice(("key", "size", "type", "values", "gone"))
    value = tensors.pop(name)
    if kind == "key":
        tensors["stranger"] = value
    elif kind == "size":
        tensors[name] = np.ascontiguousarray(value.reshape(-1)[: max(1, value.size // 2)])
    elif kind == "type":
        tensors[name] = value.astype(np.int8)
    elif kind == "values":
        tensors[name] = np.full_like(value, rng.choice((2, np.nan)) if value.dtype.kind == "f" else 3)
    save_file(tensors, path)


def damages(artifact: str) -> list[str]:
    """The kinds of damage that can be done to an artifact."""
    kinds = ["gone", "cut", "flip", *TEXTS]
    if artifact.endswith(".json"):
        kinds += ["other_values", "without_a_key"] * 3
    return kinds + (["other_tensors"] * 4 if artifact.endswith(".safetensors") else [])


def damage(path: Path, kind: str, rng: random.Random) -> None:
    if kind == "gone":
        path.unlink()
    elif kind in TEXTS:
        path.write_bytes(TEXTS[kind])
    else:
        {"cut": cut, "flip": flip, "other_values": other_values, "without_a_key": without_a_key,
         "other_tensors": other_tensors}[kind](path, rng)  # fmt: skip


def tries(scale: int) -> list[tuple[str, str, str, str, int]]:
    """(run, artifact, damage, stage, seed): each artifact `scale` times, or a few of them once."""
    rng = random.Random(scale)
    pairs = [("a", name) for name in (*JSON, *TABLES, *TENSORS, *OTHERS)] + [("e", name) for name in OF_THE_MEAN]
    pairs = pairs if scale > 1 else pairs[::3]
    return [
        (run, name, rng.choice(damages(name)), rng.choice(list(STAGES[run])), rng.randrange(10**6))
        for _ in range(scale)
        for run, name in pairs
    ]


def kept(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def test_a_damaged_artifact_is_mended_or_named(
    scale: int, source: Path, served: Served, tally: Callable[..., Tally], tmp_path: Path
) -> None:
    artifacts = tally("artifacts", SECONDS)

    renew(source, tmp_path, "a")
    undamaged = served.state(tmp_path / "outputs" / "a")

    @functools.cache
    def undisturbed(run: str, stage: str) -> tuple[dict[str, str], str, set[Path]]:
        """What a stage leaves without damage, what it says, and which files there are then."""
        renew(source, tmp_path, "a", "b", "e")
        done = served.succeed(stage, *STAGES[run][stage], cwd=tmp_path)
        folder = tmp_path / "outputs" / run
        return served.state(folder), done.out, set(folder.rglob("*"))

    def attempt(run: str, artifact: str, kind: str, stage: str, seed: int) -> None:
        what = f"{run}/{artifact} {kind} ({seed}), {stage}"
        right, said, files = undisturbed(run, stage)
        renew(source, tmp_path, "a", "b", "e")
        folder, path = tmp_path / "outputs" / run, tmp_path / "outputs" / run / artifact
        damage(path, kind, random.Random(seed))
        damaged = kept(path)
        done = served.run(stage, *STAGES[run][stage], cwd=tmp_path)
        refuse_chaos(done, what)
        refuse_litter(tmp_path, what)
        assert max(map(len, done.err.splitlines()), default=0) < 2000, f"{what}: {done.err[:300]}"
        if done.status == 0:
            if kept(path) == damaged and path in files:  # not read, and so not renewed
                path.write_bytes((source / "outputs" / run / artifact).read_bytes())
            if artifact.startswith("done/"):  # where it still held, the seals after it are over its changed bytes
                served.succeed("train", *STAGES["a"]["train"], cwd=tmp_path)
                right = undamaged
            assert differing(right, served.state(folder)) == [], what
            assert stage != "compare" or done.out == said, what
        answer(done)

    for run, artifact, kind, stage, seed in tries(scale):
        case = run, artifact, kind, stage, seed
        artifacts.attempt(" ".join(map(str, case)), lambda case=case: attempt(*case))


def flipped(path: Path) -> None:
    flip(path, random.Random(4))


def garbage(path: Path) -> None:
    path.write_bytes(b"[]")


def without_folder(*names: str) -> Callable[[Served, Path], None]:
    def work(_: Served, outputs: Path) -> None:
        for name in names:
            path = outputs / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return work


def from_another_run(name: str) -> Callable[[Served, Path], None]:
    """Make the folds of a run with the same settings, and take `name` from it."""

    def work(served: Served, outputs: Path) -> None:
        served.succeed("folds", "name=z", *TINY, cwd=outputs.parent)
        shutil.copyfile(outputs / "z" / name, outputs / "a" / name)

    return work


def nothing(_served: Served, _outputs: Path) -> None:
    return


Case = tuple[str, Callable[[Path], None], str, str, Callable[[Served, Path], None], str]
ADVICE: dict[str, Case] = {
    # artifact, its damage, the stage that refuses, the words of the advice, what they say, what ends right after that
    "oof": ("a/oof/fold_0_0_00000.safetensors", flipped, "tune", "delete done.json there to have the probabilities",
            without_folder("a/fold_0/done.json"), "train"),
    "report of it": ("a/oof/fold_0_0_00000.safetensors", flipped, "report", "delete done.json there",
                     without_folder("a/fold_0/done.json"), "train"),
    "weights": ("a/fold_0/best.safetensors", flipped, "predict", "or the whole folder to train the fold again",
                without_folder("a/fold_0"), "train"),
    "test": ("a/test/test_0_00000.safetensors", flipped, "submit", "or `make train`", nothing, "train"),
    "fold's seal": ("a/fold_0/done.json", garbage, "tune", "delete done.json there",
                    without_folder("a/fold_0/done.json"), "train"),
    "split": ("a/folds.csv", Path.unlink, "tune", "`make folds` with", from_another_run("folds.csv"), "tune"),
    "split, train": ("a/folds.csv", Path.unlink, "train", "folds.csv is gone from this run",
                     from_another_run("folds.csv"), "train"),
    "config": ("a/config.yaml", Path.unlink, "tune", "config.yaml: is gone from this run",
               from_another_run("config.yaml"), "tune"),
    "config, train": ("a/config.yaml", Path.unlink, "train", "config.yaml is gone from this run",
                      from_another_run("config.yaml"), "train"),
    "decision": ("a/decision.json", garbage, "submit", "Run `make tune` again", nothing, "tune"),
    "environment": ("a/environment.json", garbage, "tune", "put the file back", nothing, "train"),
    "mean": ("e/oof/oof_0_00000.safetensors", flipped, "tune of e", "give the `make ensemble`", nothing, "ensemble"),
    "mean's split": ("e/folds.csv", garbage, "tune of e", "give the `make ensemble`", nothing, "ensemble"),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("oof", "split") else pytest.mark.slow) for name in ADVICE]
)
def test_the_advice_of_a_refusal_mends_the_run(name: str, source: Path, served: Served, tmp_path: Path) -> None:
    artifact, harm, stage, words, mend, then = ADVICE[name]
    renew(source, tmp_path, "a", "b", "e")
    outputs, run = tmp_path / "outputs", artifact[0]
    right = served.state(outputs / run)
    harm(outputs / artifact)
    refused = served.run(stage.split()[0], *STAGES[run][stage.split()[0]], cwd=tmp_path)
    refuse_chaos(refused, name, (2,))
    assert words in refused.err
    mend(served, outputs)
    served.succeed(then, *STAGES[run][then], cwd=tmp_path)
    changed = differing(right, served.state(outputs / run))
    assert changed == (["config.yaml"] if artifact == "a/config.yaml" else []), "its name alone"
    served.succeed(stage.split()[0], *STAGES[run][stage.split()[0]], cwd=tmp_path)


@pytest.mark.parametrize("damage_to", ["network", "optimizer", pytest.param("parts", marks=pytest.mark.slow)])
def test_the_checkpoint_of_another_run_is_refused(damage_to: str, source: Path, served: Served, tmp_path: Path) -> None:
    renew(source, tmp_path, "a")
    fold = tmp_path / "outputs" / "a" / "fold_1"
    right = served.state(fold.parent)
    state, parts = load_checkpoint(fold / "last.ckpt")
    (fold / "done.json").unlink()
    (fold / "best.safetensors").rename(fold / f"best_{state.best_epoch:05d}.safetensors")
    state.epoch = 2
    if damage_to == "network":
        parts["model"] = {"net.weight": torch.zeros(3)}
    elif damage_to == "optimizer":
        parts["optimizer"]["param_groups"][0]["params"] = [0]
    else:
        del parts["precision"]
    save_checkpoint(fold / "last.ckpt", state, parts)
    refused = served.run("train", *STAGES["a"]["train"], cwd=tmp_path)
    refuse_chaos(refused, damage_to, (2,))
    assert "last.ckpt: is not the checkpoint of this network and optimizer" in refused.err
    shutil.rmtree(fold)
    served.succeed("train", *STAGES["a"]["train"], cwd=tmp_path)
    assert differing(right, served.state(fold.parent)) == []


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_loader_process_that_is_killed(served: Served, source: Path, tmp_path: Path) -> None:
    renew(source, tmp_path)
    call = ("train", "name=w", *TINY, "trainer.workers=1", "schedule.phases.fine_tune.epochs=40")
    process = served.start(*call, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "outputs/w/fold_0/last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    for child in children(process):
        os.kill(child, signal.SIGKILL)
    done = served.wait(process)
    refuse_chaos(done, "a loader process was killed", (2,))
    assert "loader process 0 ended with exit code -9" in done.err
    refuse_litter(tmp_path, "a loader process was killed")
