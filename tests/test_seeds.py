"""A run trained again with other seeds, by the scripts as a user calls them; what the spread then tells."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_end_to_end import process, script, succeed
from test_end_to_end_heads import TINY

from saltern.config import compose_config
from saltern.errors import ConfigError, RunError
from saltern.inference.spread import measure_spread, read_spread
from saltern.metrics.noise import RETRAIN_DF, RETRAIN_SD
from saltern.pipeline import several
from saltern.pipeline.several import Planned, train_several
from saltern.runs import RunDir


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `a`, of which one fold of two is trained, and its seeds 1 and 2."""
    folder = tmp_path_factory.mktemp("place")
    succeed("train", *TINY, "name=a", "trainer.folds=[1]", cwd=folder)
    done = process("seeds", "name=a", "seeds=[1,2]", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def nested(place: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(place / "outputs" / name / "oof_nested.csv", dtype={"id": str})


def test_each_seed_is_an_ordinary_run_in_the_same_folds_with_other_weights(place: Path) -> None:
    base = place / "outputs" / "a"
    for seed in (1, 2):
        run = place / "outputs" / f"a_seed{seed}"
        assert (run / "folds.csv").read_bytes() == (base / "folds.csv").read_bytes()
        assert read(run / "scores.json")["folds"] == [1]
        assert (run / "submission.csv").exists()
        assert f"seed: {seed}\n" in (run / "config.yaml").read_text()
        weights = [path / "fold_1" / "best.safetensors" for path in (base, run)]
        assert weights[0].read_bytes() != weights[1].read_bytes()


def test_the_spread_is_that_of_the_means_on_the_same_images(place: Path) -> None:
    found = read(place / "outputs/a/seeds.json")
    assert found["runs"] == ["a", "a_seed1", "a_seed2"]
    assert (found["seeds"], found["images"]) == ([0, 1, 2], len(nested(place, "a")))
    means = [nested(place, name)["iou"].mean() for name in found["runs"]]
    assert found["columns"]["iou"]["scores"] == pytest.approx(means)
    assert found["columns"]["iou"]["sd"] == pytest.approx(np.std(means, ddof=1))


def test_finished_seeds_are_left_as_they_are_and_a_missing_one_is_trained(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    kept = tmp_path / "outputs/a_seed1/fold_1/best.safetensors"
    before = kept.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "outputs/a_seed2/fold_1")
    (tmp_path / "outputs/a/seeds.json").unlink()
    done = process("seeds", "name=a", "seeds=[1,2]", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a_seed1: run" not in done.stdout + done.stderr
    assert kept.stat().st_mtime_ns == before
    assert read(tmp_path / "outputs/a/seeds.json") == read(place / "outputs/a/seeds.json")


def test_compare_takes_the_mean_over_seeds_and_their_spread(place: Path) -> None:
    shutil.copytree(place / "outputs/a_seed1", place / "outputs/rival")
    out = succeed("compare", "name=ar", "runs=[a,rival]", "score=iou", cwd=place)
    means = [nested(place, name)["iou"].mean() for name in ("a", "a_seed1", "a_seed2")]
    assert f"{means[1] - np.mean(means):.4f}".lstrip("-") in out
    text = (place / "outputs/compare/ar/report.html").read_text()
    assert "as the seeds of a show" in text
    shutil.rmtree(place / "outputs/rival")


def test_a_spread_changed_by_another_hand_is_refused_and_one_of_other_scores_told(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    run, seal = tmp_path / "outputs/a", tmp_path / "outputs/a/done/seeds.json"
    names = ("oof_nested.csv", "../a_seed1/oof_nested.csv", "../a_seed2/oof_nested.csv", "settings")
    assert set(read(seal)["made_of"]) == set(names)
    right = run.joinpath("seeds.json").read_text()
    run.joinpath("seeds.json").write_text(right.replace('"sd"', '"sd" '))
    for stage, words in (("tune", ()), ("compare", ("runs=[a,a_seed1]",))):
        refused = script(stage, "name=a", *words, cwd=tmp_path)
        assert refused.returncode == 2
        assert "seeds.json was changed by another hand; run `make seeds name=a`" in refused.stdout + refused.stderr
    run.joinpath("seeds.json").write_text(right)
    with (tmp_path / "outputs/a_seed2/oof_nested.csv").open("a") as table:
        table.write("\n")
    told = script("tune", "name=a", cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "measured on other scores (../a_seed2/oof_nested.csv changed since)" in told.stdout + told.stderr
    shutil.rmtree(tmp_path / "outputs/a_seed2")
    assert "other scores" not in (gone := script("tune", "name=a", cwd=tmp_path)).stdout + gone.stderr
    seal.unlink()
    old = script("tune", "name=a", cwd=tmp_path)
    assert (old.returncode, "did not seal it" in old.stdout + old.stderr) == (0, True)


def test_mistakes_are_answered_before_anything_is_trained(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"seeds=\[1, 1\]: expected one or more different"):
        compose_config("seeds", ["name=a", "seeds=[1,1]"])
    own = script("seeds", "name=a", "seeds=[0,1]", cwd=place)
    assert own.returncode == 2
    assert "0 is the seed of a itself" in own.stdout + own.stderr
    monkeypatch.setenv("RANK", "0")
    assert "without torchrun" in (done := script("seeds", "name=a", "seeds=[1]", cwd=place)).stdout + done.stderr


def test_one_run_that_fails_takes_no_other_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = tmp_path / "train.py"
    trained.write_text(
        "import os, signal, sys\n"
        "if sys.argv[1] == 'name=killed': os.kill(os.getpid(), signal.SIGKILL)\n"
        "if sys.argv[1] == 'name=refused': sys.exit(2)\n"
        f"open(r'{tmp_path}/' + sys.argv[1], 'w').close()\n"
    )
    monkeypatch.setattr(several, "TRAIN", trained)
    failed = train_several([Planned(name, [f"name={name}"]) for name in ("killed", "one", "refused", "two")])
    assert failed == {"killed": -9, "refused": 2}
    assert {path.name for path in tmp_path.glob("name=*")} == {"name=one", "name=two"}


def drawn(seeds: int, shift: float, images: int = 400) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(0)
    ids, base = [f"{n:04}" for n in range(images)], rng.uniform(0.2, 0.8, images)
    tables = {}
    for seed in range(seeds):
        scores = base + rng.normal(0, shift) + rng.normal(0, 0.05, images)
        columns = dict.fromkeys(("iou", "dice", "precision_tgs"), scores)
        tables[f"r{seed}"] = pd.DataFrame({"id": ids, "fold": 0, **columns})
    return tables


def test_many_seeds_move_the_default_to_what_they_show_and_few_hardly() -> None:
    for shift in (0.0, 0.03):
        many = measure_spread(drawn(60, shift), list(range(60))).retrain("iou")
        assert many.sd == pytest.approx(shift, abs=0.0025 + 0.15 * shift)
    few = measure_spread(drawn(2, 0.0), [0, 1]).retrain("iou")
    assert 0.7 * RETRAIN_SD < few.sd < 1.3 * RETRAIN_SD
    assert RETRAIN_DF < few.df < RETRAIN_DF + 1


def test_other_folds_or_a_damaged_file_are_refused(tmp_path: Path) -> None:
    tables = drawn(2, 0.01)
    tables["r1"]["fold"] = 1
    with pytest.raises(RunError, match="r1 and r0 were not scored on the same images in the same folds"):
        measure_spread(tables, [0, 1])
    with pytest.raises(RunError, match=r"groups\.csv: says nothing of 1 images, such as '0007'"):
        measure_spread(drawn(2, 0.01), [0, 1], {f"{n:04}": "g" for n in range(400) if n != 7})
    run = RunDir.of(tmp_path, "a")
    assert read_spread(run) is None
    run.seeds.parent.mkdir(parents=True)
    run.seeds.write_text('{"runs": 3}')
    with pytest.raises(RunError, match="make seeds name=a"):
        read_spread(run)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runs": ["a", "a"]}, "different runs"),
        ({"seeds": [0]}, "a seed for each run"),
        ({"columns": {}}, "the columns iou, dice, precision_tgs"),
        ({"sd": -1.0}, "no number below 0"),
        ({"retrain_variance": 1e999}, "infinite"),
        ({"retrain_df": 0.0}, "retrain_df=0"),
        ({"scores": [0.5]}, "a score of each run"),
    ],
)
def test_a_spread_that_cannot_be_is_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    run = RunDir.of(tmp_path, "a")
    content = measure_spread(drawn(2, 0.01), [0, 1]).model_dump()
    run.seeds.parent.mkdir(parents=True)
    target = content if next(iter(change)) in content else content["columns"]["iou"]
    run.seeds.write_text(json.dumps({**content}))
    assert read_spread(run) is not None
    target.update(change)
    run.seeds.write_text(json.dumps(content))
    with pytest.raises(RunError, match=said if "inf" not in said else "no number below 0|Infinity|inf"):
        read_spread(run)
