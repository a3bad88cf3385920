"""All stages on a tiny drawn set, by the scripts as a user calls them."""

import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltern import rle
from saltern.config import compose_config
from saltern.engine.checkpoint import load_checkpoint
from saltern.inference.store import ProbStore
from saltern.models import build_model
from saltern.models.trained import save_weights

ROOT = Path(__file__).parents[1]

TINY = [
    "dataset.train=24",
    "dataset.test=6",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=6",
    "trainer.accelerator=cpu",
    "schedule.phases.warm_up.epochs=2",
    "schedule.phases.fine_tune.epochs=1",
]


@dataclass
class Done:
    """How a script ended."""

    returncode: int
    stdout: str
    stderr: str


def process(name: str, *overrides: str, cwd: Path) -> Done:
    """Run a script as `make` does, in a process of its own."""
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *overrides]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, timeout=250)
    return Done(done.returncode, done.stdout, done.stderr)


def script(name: str, *overrides: str, cwd: Path) -> Done:
    """Run a script's entry in this process, which has torch loaded already."""
    sys.path.insert(0, str(ROOT / "scripts"))
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv, Path.cwd()
    try:
        sys.argv = [str(ROOT / "scripts" / f"{name}.py"), *overrides]
        os.chdir(cwd)
        with redirect_stdout(out), redirect_stderr(err):
            runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.path.remove(str(ROOT / "scripts"))
        sys.argv = before[0]
        os.chdir(before[1])
    return Done(status, out.getvalue(), err.getvalue())


def succeed(name: str, *overrides: str, cwd: Path) -> str:
    done = script(name, *overrides, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `train` has run once, as name=a."""
    folder = tmp_path_factory.mktemp("place")
    done = process("train", *TINY, "name=a", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_train_writes_every_artifact_of_the_contract(place: Path) -> None:
    run = place / "outputs" / "a"
    for name in (
        "config.yaml", "environment.json", "folds.csv", "decision.json", "oof_scores.csv", "scores.json",
        "truth.csv", "submission.csv", "report.html", "fold_0/best.safetensors", "fold_0/last.ckpt",
        "fold_1/metrics.csv", "resemblance.json",
    ):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    assert list((run / "fold_0" / "tensorboard").iterdir())
    assert not list(run.rglob("*.tmp"))


def test_every_labelled_image_has_one_out_of_fold_prediction_at_native_size(place: Path) -> None:
    run = place / "outputs" / "a"
    folds = pd.read_csv(run / "folds.csv", dtype={"id": str})
    store = ProbStore(run / "oof")
    assert sorted(store) == sorted(folds["id"])
    assert len(folds) == 24
    assert all(store[name].shape == (32, 32) and store[name].dtype == np.float16 for name in store)
    scores = pd.read_csv(run / "oof_scores.csv", dtype={"id": str})
    assert list(scores.columns) == ["id", "fold", "iou", "dice", "precision_tgs"]
    merged = scores.merge(folds, on="id")
    assert len(merged) == 24
    assert (merged["fold_x"] == merged["fold_y"]).all()


def test_the_submission_has_the_sample_submissions_ids_in_order_and_decodes(place: Path) -> None:
    submission = pd.read_csv(place / "outputs/a/submission.csv", dtype=str, keep_default_na=False)
    expected = pd.read_csv(place / "data/sample/sample_submission.csv", dtype=str, keep_default_na=False)
    assert list(submission.columns) == ["id", "rle_mask"]
    assert submission["id"].tolist() == expected["id"].tolist()
    decision = json.loads((place / "outputs/a/decision.json").read_text())
    assert set(decision) == {"threshold", "min_area", "empty_gate"}
    store = ProbStore(place / "outputs/a/test")
    for name, text in submission.itertuples(index=False):
        mask = store[name].astype(np.float32) > np.float32(decision["threshold"])
        if mask.sum() < decision["min_area"] or store[name].max() < (decision["empty_gate"] or 0):
            mask[:] = False
        assert np.array_equal(rle.decode(text, (32, 32)), mask)


def test_scores_follow_the_contract(place: Path) -> None:
    scores = json.loads((place / "outputs/a/scores.json").read_text())
    assert scores["folds"] == [0, 1]
    assert {"per_fold", "pooled", "nested"} <= set(scores)
    oof = pd.read_csv(place / "outputs/a/oof_scores.csv")
    assert scores["pooled"]["at_decision"]["iou_image"] == pytest.approx(oof["iou"].mean())
    assert scores["pooled"]["at_decision"]["precision_tgs"] == pytest.approx(oof["precision_tgs"].mean())
    assert set(scores["training"]["0"]["phase_best"]) == {"warm_up", "fine_tune"}


def test_a_finished_run_is_left_alone_and_a_contradiction_refused(place: Path) -> None:
    run = place / "outputs" / "a"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert "finished already" in succeed("train", *TINY, "name=a", cwd=place)
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    refused = script("train", *TINY, "seed=1", "name=a", cwd=place)
    assert refused.returncode == 2
    assert "seed: 0 in the run, 1 asked for" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_until_there_are_folds_a_mistake_is_mended_under_the_same_name(place: Path) -> None:
    run = place / "outputs" / "mended"
    for mistake, told in (
        ("model.encoder_weights=nowhere.pth", "no such file"),
        ("augment.transforms=[{name: Affine, args: {scael: 1}}]", "Did you mean 'scale'"),
        ("folds.n=25", "25"),
    ):
        done = script("train", *TINY[:3], *TINY[4:], mistake, "name=mended", cwd=place)
        assert done.returncode == 2
        assert told in done.stderr
        assert not (run / "folds.csv").exists()
    succeed("folds", *TINY, "name=mended", cwd=place)
    assert "nowhere.pth" not in (run / "config.yaml").read_text()
    assert "begun with other settings" in script("train", *TINY, "seed=3", "name=mended", cwd=place).stderr
    missing = script("train", *TINY, "trainer.folds=[0,7]", "name=mended", cwd=place)
    assert "fold 7 does not exist" in missing.stderr
    assert not (run / "fold_0").exists(), "told before the first fold was trained"


def test_a_continued_fold_still_knows_where_its_encoder_began(place: Path) -> None:
    encoder = compose_config("run", [*TINY, "name=seeded"]).model
    save_weights(place / "encoder.safetensors", build_model(encoder).encoder)
    call = [*TINY, "name=seeded", "trainer.folds=[0]", f"model.encoder_weights={place / 'encoder.safetensors'}"]
    succeed("train", *call, cwd=place)
    done = place / "outputs" / "seeded" / "fold_0" / "done.json"
    first = json.loads(done.read_text())
    done.unlink()  # as if the power had failed while the probabilities were stored
    succeed("train", *call, cwd=place)
    assert json.loads(done.read_text()) == first
    assert first["encoder_weights"]["missing"] == []


def test_overwrite_begins_anew_but_goes_on_where_it_was_interrupted(place: Path) -> None:
    run, call = place / "outputs" / "anew", ("folds", *TINY, "name=anew", "overwrite=true")
    succeed("folds", *TINY, "name=anew", cwd=place)
    (run / "fold_0").mkdir()
    assert "deleted and begun anew" in succeed(*call, cwd=place)
    assert not (run / "fold_0").exists()
    (run / "fold_0").mkdir()
    assert "goes on" in succeed(*call, cwd=place)
    assert (run / "fold_0").exists()
    began = script("train", *TINY, "name=anew2", "overwrite=true", "model.encoder_weights=nowhere.pth", cwd=place)
    assert "goes on" not in began.stdout + began.stderr, "nothing was interrupted"
    (run / "report.html").write_text("finished")
    assert "deleted and begun anew" in succeed(*call, cwd=place)
    assert not (run / "fold_0").exists()


def test_a_name_that_looks_like_a_number_stays_as_it_is(place: Path) -> None:
    succeed("folds", *TINY, "name=2024_11_21", cwd=place)
    assert (place / "outputs" / "2024_11_21" / "folds.csv").exists()
    succeed("preview", *TINY, "name=v1.2", cwd=place)
    assert (place / "outputs" / "preview" / "v1.2.png").exists()


def test_later_stages_give_the_same_again(place: Path) -> None:
    run = place / "outputs" / "a"
    before = {name: (run / name).read_bytes() for name in ("decision.json", "scores.json", "submission.csv")}
    for stage in ("tune", "predict", "submit", "report"):
        succeed(stage, "name=a", cwd=place)
    assert before == {name: (run / name).read_bytes() for name in before}


def test_score_grades_the_submission(place: Path) -> None:
    text = succeed("score", "submission=outputs/a/submission.csv", "truth=data/sample/test_truth.csv", cwd=place)
    assert "precision_tgs" in text
    perfect = succeed("score", "submission=data/sample/test_truth.csv", "truth=data/sample/test_truth.csv", cwd=place)
    assert perfect.count("1.0000") == 4


def test_a_run_that_was_killed_goes_on_and_ends_the_same(place: Path) -> None:
    """The power goes after the first epoch; tune refuses the half-trained fold; the same command finishes the run."""
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *TINY, "name=killed"]
    checkpoint = place / "outputs/killed/fold_0/last.ckpt"
    with subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not checkpoint.exists():
            assert process.poll() is None, "ended before its first epoch"
            time.sleep(0.02)
        process.kill()
    assert not (place / "outputs/killed/fold_0/done.json").exists()
    refused = script("tune", "name=killed", cwd=place)
    assert refused.returncode == 2
    assert "folds [0] is not finished" in refused.stderr
    assert "continues after epoch" in succeed("train", *TINY, "name=killed", cwd=place)
    submissions = [(place / "outputs" / name / "submission.csv").read_bytes() for name in ("a", "killed")]
    assert submissions[0] == submissions[1]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_says_how_to_go_on_and_leaves_nothing_half_written(
    sent: signal.Signals, status: int, place: Path
) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *TINY, f"name=stopped_{status}"]
    run = place / "outputs" / f"stopped_{status}"
    plain = ["env", "--default-signal=INT"]  # a shell's background jobs ignore Ctrl-C
    with subprocess.Popen(
        [*plain, *command], cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (run / "fold_0" / "last.ckpt").exists():
            assert process.poll() is None, "ended before its first epoch"
            time.sleep(0.02)
        process.send_signal(sent)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "the last finished epoch is kept; the same command goes on from there" in said
    assert "Traceback" not in said
    assert not list(run.rglob("*.tmp"))
    assert not (run / ".held").exists(), "it has let go"
    assert load_checkpoint(run / "fold_0" / "last.ckpt")[0].epoch >= 1


def test_two_settings_begun_together_under_one_name_never_mix(place: Path) -> None:
    """One begins; the other one waits for it, and is then told."""
    started = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "folds.py"), *TINY, "name=race", f"seed={seed}"],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]
    said = [process.communicate(timeout=200)[1] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 2], said
    loser = codes.index(2)
    assert f"seed: {1 - loser} in the run, {loser} asked for" in said[loser]
    assert f"seed: {1 - loser}\n" in (place / "outputs" / "race" / "config.yaml").read_text()


def test_whatever_changes_under_a_finished_run_is_named(place: Path) -> None:
    run = place / "outputs" / "edited"
    shutil.copytree(place / "outputs" / "a", run)
    tuned = json.loads((run / "decision.json").read_text())
    (run / "decision.json").write_text(json.dumps({**tuned, "threshold": 0.06}))
    assert "decision.json was changed by another hand since it was tuned" in succeed("submit", "name=edited", cwd=place)
    succeed("report", "name=edited", cwd=place)
    page = (run / "report.html").read_text()
    assert "0.06" in page
    assert "by hand" in page
    assert "finished already" in succeed("train", *TINY, "name=edited", cwd=place), "the edit is kept"
    assert "tune is done anew, since decision.json was changed" in succeed("tune", "name=edited", cwd=place)
    assert json.loads((run / "decision.json").read_text()) == tuned
    (run / "fold_0" / "best.safetensors").write_bytes(b"other weights")
    refused = script("tune", "name=edited", cwd=place)
    assert refused.returncode == 2
    assert "fold_0/best.safetensors was changed by another hand" in refused.stderr
    lines = (run / "folds.csv").read_text().splitlines()
    swapped = [line.translate(str.maketrans("01", "10")) if line.endswith((",0", ",1")) else line for line in lines]
    (run / "folds.csv").write_text("\n".join(swapped) + "\n")
    refused = script("train", *TINY, "name=edited", cwd=place)
    assert refused.returncode == 2
    assert "folds.csv was changed by another hand, but everything in this run rests on its split" in refused.stderr


def test_check_reports_and_its_exit_status_is_the_verdict(place: Path) -> None:
    sample = ["dataset=tgs", "dataset.root=data/sample", "name=checked"]
    assert "0 errors" in succeed("check", *sample, cwd=place)
    assert (place / "outputs/checked/dataset_report.html").stat().st_size > 0
    broken = place / "broken"
    shutil.copytree(place / "data/sample", broken)
    first = sorted((broken / "train/images").iterdir())[0]
    first.write_bytes(first.read_bytes()[:100])
    done = script("check", "dataset=tgs", "dataset.root=broken", "name=broken", cwd=place)
    assert done.returncode == 1
    assert first.name in done.stdout
    succeed("folds", *TINY, "name=checked", cwd=place)


def test_preview_draws_a_sheet(place: Path) -> None:
    succeed("preview", *TINY, "name=look", cwd=place)
    assert (place / "outputs/preview/look.png").read_bytes().startswith(b"\x89PNG")


def test_folds_trained_one_by_one_equal_the_whole_run_and_blend(place: Path) -> None:
    """Fold 1, then fold 0, in a run of its own: the same weights, so the same submission; then both runs' mean."""
    succeed("train", *TINY, "name=b", "trainer.folds=[1]", cwd=place)
    assert json.loads((place / "outputs/b/scores.json").read_text())["folds"] == [1]
    succeed("train", *TINY, "name=b", "trainer.folds=[0]", cwd=place)
    assert json.loads((place / "outputs/b/scores.json").read_text())["folds"] == [0, 1]
    first, second = (ProbStore(place / "outputs" / name / "oof") for name in "ab")
    assert all(np.array_equal(first[name], second[name]) for name in first)
    submissions = [(place / "outputs" / name / "submission.csv").read_bytes() for name in "ab"]
    assert submissions[0] == submissions[1]

    succeed("ensemble", "name=blend", "runs=[a,b]", cwd=place)
    assert (place / "outputs/blend/submission.csv").read_bytes() == submissions[0]
    blended = ProbStore(place / "outputs/blend/oof")
    assert all(np.allclose(blended[name], first[name], atol=1e-3) for name in first)
    assert "0.0000" in succeed("compare", "name=ab", "runs=[a,blend]", cwd=place)
    elsewhere = place / "moved"
    shutil.copytree(place / "data/sample", elsewhere)
    assert "0.0000" in succeed("compare", "name=ab", "runs=[a,blend]", f"root={elsewhere}", cwd=place)
    assert (place / "outputs/compare/ab/report.html").stat().st_size > 0


def test_folds_by_multirun_then_tune_equal_the_whole_run(place: Path) -> None:
    done = process("train", *TINY, "name=many", "-m", "trainer.folds=[0],[1]", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (place / "outputs/many/submission.csv").exists()
    succeed("tune", "name=many", cwd=place)
    submissions = [(place / "outputs" / name / "submission.csv").read_bytes() for name in ("a", "many")]
    assert submissions[0] == submissions[1]


def test_images_kept_on_the_device_give_the_same_weights(place: Path) -> None:
    done = process("train", *TINY, "name=kept", "dataset.cache=device", "trainer.folds=[0]", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    weights = [(place / "outputs" / name / "fold_0/best.safetensors").read_bytes() for name in ("a", "kept")]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_two_processes_train_predict_and_finish_a_run(place: Path) -> None:
    """DDP over gloo: every labelled and every test image is predicted once, by one of the two."""
    done = process("train", *TINY, "name=two", "trainer.devices=2", cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    run = place / "outputs" / "two"
    assert sorted(ProbStore(run / "oof")) == sorted(ProbStore(place / "outputs/a/oof"))
    assert sorted(path.name for path in (run / "test").glob("*.safetensors")) == [
        "test_0_00000.safetensors",
        "test_1_00000.safetensors",
    ]
    assert len(ProbStore(run / "test")) == 6
    assert (run / "submission.csv").exists()
    assert "finished already" in succeed("train", *TINY, "name=two", cwd=place)
    failed = process("train", *TINY, "name=torn", "trainer.devices=2", "model.encoder_weights=nowhere.pth", cwd=place)
    assert failed.returncode != 0
    assert "no such file" in failed.stderr
    assert "process 1 of 2 ends, since process 0 failed: model.encoder_weights=nowhere.pth: no such file" in " ".join(
        failed.stdout.split()
    )
    blended = succeed("ensemble", "name=of_two", "runs=[a,two]", cwd=place)
    assert "of_two" in blended


@pytest.mark.parametrize(
    ("stage", "overrides", "parts"),
    [
        ("tune", ["name=nowhere"], ["RunError", "no such run", "a"]),
        ("train", ["name=../away"], ["ConfigError", "outside"]),
        ("train", ["dataset=tgs", "dataset.root=missing", "name=t"], ["DataError", "no such folder", "missing"]),
        ("train", ["trainer.epochs=3"], ["ConfigError", "trainer.epochs"]),
        ("train", [*TINY, "name=a", "trainer.folds=[7]"], ["fold 7 does not exist", "[0, 1]"]),
        ("ensemble", ["name=x", "runs=[a]"], ["two or more"]),
        ("compare", ["name=x", "runs=[]"], ["two or more"]),
        ("train", [*TINY, "outputs=data/sample/train.csv"], ["is a file"]),
        ("train", ["augment.transforms=[{name: HorizontalFlp}]"], ["Did you mean 'HorizontalFlip'"]),
        ("score", ["submission=none.csv", "truth=none.csv"], ["none.csv"]),
        ("score", ["submission=none.csv"], ["truth has no value"]),
        ("train", ["schedule.phases.fine_tune.loss={bce: 1.0}"], ["merges", "loss=0.5*lovasz_hinge+0.5*bce"]),
        ("train", ["model=null"], ["model=null", "configs/model"]),
        ("predict", ["name=blend"], ["is an ensemble"]),
    ],
)
def test_a_mistake_ends_with_its_reason_and_status_2(
    stage: str, overrides: list[str], parts: list[str], place: Path
) -> None:
    done = script(stage, *overrides, cwd=place)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr
