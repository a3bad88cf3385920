"""What validation counts after every epoch, and what a run makes of it: optimism, estimate, forecast."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from saltern import pipeline
from saltern.config.forecast import ForecastConfig
from saltern.data.folds.membership import read_groups
from saltern.errors import ConfigError
from saltern.inference.epoch_counts import EpochCounts
from saltern.inference.selection import selection_of_fold
from saltern.metrics.scores import summarise
from saltern.runs import RunDir

SCRIPTS = Path(__file__).parents[1] / "scripts"
TINY = [
    "dataset.train=10",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=2",
    "trainer.eval_batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.folds=[0]",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
    "name=k",
]


def trained(place: Path, *overrides: str, processes: int = 1) -> RunDir:
    place.mkdir(exist_ok=True)
    call = [str(SCRIPTS / "train.py"), *TINY, *overrides]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        call = [*launcher, *call, f"trainer.devices={processes}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *call], check=False, capture_output=True, text=True, cwd=place, env=environment, timeout=280
    )
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return RunDir(place / "outputs" / "k")


@pytest.mark.parametrize("processes", [1, 2])
def test_the_counts_of_an_epoch_give_its_scores_whoever_counted_them(processes: int, tmp_path: Path) -> None:
    """Five images in batches of two: with two processes one counts three of them, the other two."""
    run = trained(tmp_path / "place", processes=processes)
    found = EpochCounts.read(run.fold(0).val_counts)
    folds = pd.read_csv(run.folds, dtype={"id": str})
    assert list(found.ids) == folds["id"][folds["fold"] == 0].tolist()
    rows = pd.read_csv(run.fold(0).metrics)
    assert found.counts.shape == (len(rows), len(found.ids), 3) == (2, 5, 3)
    for counts, (_, row) in zip(found.counts, rows.iterrows(), strict=True):
        for name, score in summarise(counts.astype(np.int64)).items():
            assert row[f"val_{name}"] == pytest.approx(score)
    assert "fold_0/val_counts.safetensors" in run.fold(0).done.read_text(), "sealed with the fold"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three epochs, and its outputs folder."""
    place = tmp_path_factory.mktemp("finished")
    trained(place, "schedule.phases.fine_tune.epochs=2")
    return place


def reopened(finished: Path, place: Path, **forecast: int) -> pipeline.Job:
    """A copy of the run, for one test to work on."""
    shutil.copytree(finished / "outputs", place / "outputs")
    job = pipeline.Job.reopen(str(place / "outputs"), "k", str(finished / "data" / "sample"))
    return pipeline.Job(replace(job.config, forecast=ForecastConfig(**forecast)))


def scores_of(job: pipeline.Job) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(job.run.scores.read_text())
    return content


def test_scores_json_says_what_is_taken_off_and_what_a_leaderboard_will_show(finished: Path, tmp_path: Path) -> None:
    job = reopened(finished, tmp_path)
    found = scores_of(job)
    facts = json.loads(job.run.fold(0).done.read_text())
    counts = EpochCounts.read(job.run.fold(0).val_counts)
    selection = selection_of_fold(counts, facts["best_epoch"], ("precision_tgs", "precision_tgs"))
    assert found["optimism"]["selection"] == pytest.approx(selection.optimism)
    assert found["optimism"]["folds"]["0"]["images"] == 5
    nested = found["nested"]["scores"]["precision_tgs"]
    assert found["optimism"]["tuning"] == pytest.approx(found["pooled"]["at_decision"]["precision_tgs"] - nested)
    assert found["estimate"] == pytest.approx(nested - selection.optimism)
    assert found["forecast"]["score"] == found["estimate"]
    assert found["forecast"]["images"] == 2
    assert found["kept_neutral"] == (found["decision"] != found["tuning"]["decision"])
    page = job.run.report.read_text()
    assert f"{found['forecast']['low']:.4f} to {found['forecast']['high']:.4f}" in page
    assert f">{found['estimate']:.4f}<" in page


def test_a_run_of_an_earlier_version_is_read_and_says_what_is_not_known(finished: Path, tmp_path: Path) -> None:
    job = reopened(finished, tmp_path)
    job.run.fold(0).val_counts.unlink()
    done = json.loads(job.run.fold(0).done.read_text())
    del done["files"]["fold_0/val_counts.safetensors"]
    job.run.fold(0).done.write_text(json.dumps(done))
    older = scores_of(job)
    for key in ("kept_neutral", "tuning", "optimism", "estimate", "forecast"):
        del older[key]
    job.run.scores.write_text(json.dumps(older))
    pipeline.finish_run(job)
    found = scores_of(job)
    assert found["optimism"]["selection"] is None
    assert "earlier version" in found["optimism"]["selection_note"]
    assert found["estimate"] == found["nested"]["scores"]["precision_tgs"]
    assert "Nothing is taken off: an earlier version" in job.run.report.read_text()


def test_a_forecast_may_be_asked_for_later_and_a_public_part_is_no_larger_than_the_test(
    finished: Path, tmp_path: Path
) -> None:
    job = reopened(finished, tmp_path, images=900, public_images=300)
    pipeline.finish_run(job, again=False)
    found = scores_of(job)["forecast"]
    assert (found["images"], found["public"]["images"]) == (900, 300)
    assert found["parts"]["test_images"] == pytest.approx(found["public"]["parts"]["test_images"] / 3)
    page = job.run.report.read_text()
    assert "forecast, public" in page
    before = job.run.scores.read_bytes()
    pipeline.finish_run(job, again=False)
    assert job.run.scores.read_bytes() == before
    for settings, said in (
        ({"public_images": 3}, "at most 2, the test images"),
        ({"images": 2, "public_images": 5}, "at most 2"),
    ):
        large = pipeline.Job(replace(job.config, forecast=ForecastConfig(**settings)))
        with pytest.raises(ConfigError, match=f"forecast.public_images=.*{said}"):
            pipeline.finish_run(large)


def test_the_last_epoch_owes_nothing_and_an_average_cannot_say(finished: Path, tmp_path: Path) -> None:
    for keep, optimism, note in (("last", 0.0, "the last epoch predicts"), ("average", None, "a mix of epochs")):
        job = reopened(finished, tmp_path / keep)
        done = json.loads(job.run.fold(0).done.read_text())
        job.run.fold(0).done.write_text(json.dumps({**done, "keep": keep}))
        pipeline.finish_run(job)
        found = scores_of(job)["optimism"]
        assert found["selection"] == optimism
        assert note in found["folds"]["0"]["note"]


def test_groups_are_kept_with_the_split_sealed_and_gone_where_there_are_none(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    script = [sys.executable, str(SCRIPTS / "folds.py"), *TINY[:4], "name=k"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for kind in (
        ["folds=stratified_group", "folds.group=null", "folds.regex=^(.)"],
        ["folds=stratified", "overwrite=true"],
    ):
        done = subprocess.run([*script, *kind], check=False, capture_output=True, text=True, cwd=place, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        run = RunDir(place / "outputs" / "k")
        sealed = json.loads(run.seal("folds").read_text())["files"]
        groups = read_groups(run)
        if "folds=stratified" in kind:
            assert groups is None
            assert list(sealed) == ["folds.csv"]
        else:
            assert groups is not None
            assert set(sealed) == {"folds.csv", "groups.csv"}
            folds = pd.read_csv(run.folds, dtype={"id": str}).set_index("id")["fold"]
            assert set(groups) == set(folds.index)
            for one in groups:
                alike = {other for other in groups if groups[other] == groups[one]}
                assert alike == {other for other in groups if other[0] == one[0]}
                assert len({folds[other] for other in alike}) == 1
