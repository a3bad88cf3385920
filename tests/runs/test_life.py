"""A stage is done only while what it wrote and what it was made of are as they were; whatever changed is named."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from saltern.config import ConfigError, RunConfig, compose_config
from saltern.errors import RunError
from saltern.files import write_json, write_text
from saltern.runs import RunDir
from saltern.runs.life import Life

STAGES = ("tune", "predict", "submit", "report")


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """A run with two folds."""
    return compose_config("run", [f"outputs={tmp_path}", "name=a"])


def train(life: Life, number: int, content: str = "weights") -> None:
    """What training leaves of a fold."""
    fold, shard = life.run.fold(number), life.run.oof / f"fold_{number}_0_00000.safetensors"
    write_text(fold.best, content)
    write_text(shard, f"probabilities by {content}")
    life.close_fold(number, [fold.best, shard], {"best": 0.5})


def finish(life: Life) -> None:
    """What the later stages leave."""
    run, shard = life.run, life.run.test / "test_0_00000.safetensors"
    for path in (run.decision, run.oof_scores, run.scores, shard, run.submission, run.report):
        write_text(path, f"{path.name} of {[life.run.fold(n).best.read_text() for n in life.run.sealed_folds()]}")
    for stage, files in zip(
        STAGES, ([run.decision, run.oof_scores, run.scores], [shard], [run.submission], [run.report]), strict=True
    ):
        life.close(stage, files, life.ingredients(stage))


@pytest.fixture
def life(config: RunConfig) -> Life:
    """A finished run of fold 0."""
    life = Life(RunDir.of(config.outputs, config.name), config)
    life.begin({})
    write_text(life.run.folds, "id,fold\n")
    life.close_folds()
    train(life, 0)
    finish(life)
    return life


def again(life: Life) -> Life:
    """As another process sees it."""
    return Life(life.run, life.config)


def test_all_artifacts_of_all_trained_folds_make_a_finished_run(life: Life) -> None:
    assert again(life).is_finished(with_test=True)
    assert again(life).trained_folds([0]) == [0]


def test_one_more_fold_unfinishes_it(life: Life) -> None:
    train(life, 1)
    assert again(life).faults("tune") == ["fold_1/done.json came since"]
    assert again(life).faults("predict") == ["fold_1/done.json came since"]
    finish(life)
    assert again(life).is_finished(with_test=True)


def test_a_fold_trained_again_unfinishes_it_even_if_its_scores_are_the_same(life: Life) -> None:
    train(life, 0, "other weights")
    assert again(life).faults("tune") == ["fold_0/done.json changed since"]
    assert again(life).faults("predict") == ["fold_0/done.json changed since"]
    assert not again(life).is_finished(with_test=True)


@pytest.mark.parametrize("name", ["decision", "scores", "oof_scores", "submission", "report"])
def test_a_missing_or_edited_artifact_unfinishes_it(name: str, life: Life) -> None:
    path: Path = getattr(life.run, name)
    before = path.read_text()
    path.write_text(before + " ")
    assert not again(life).is_finished(with_test=True)
    path.write_text(before)
    assert again(life).is_finished(with_test=True)
    path.unlink()
    assert not again(life).is_finished(with_test=True)


def test_a_changed_shard_weight_or_split_is_named_and_refused(life: Life) -> None:
    for path, told in (
        (life.run.fold(0).best, "fold_0/best.safetensors was changed by another hand"),
        (life.run.oof / "fold_0_0_00000.safetensors", "oof/fold_0_0_00000.safetensors was changed"),
        (life.run.folds, "folds.csv changed since"),
    ):
        before = path.read_text()
        path.write_text("x")
        with pytest.raises(RunError, match=told):
            again(life).trained_folds([0])
        path.write_text(before)
    life.run.folds.write_text("id,fold\nx,0\n")
    with pytest.raises(RunError, match=r"folds\.csv was changed by another hand, but everything in this run rests on"):
        again(life).require_folds()


def test_an_edited_decision_is_told_and_kept_and_anything_else_is_refused(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    life.run.decision.write_text("0.05")
    again(life).require("tune")
    assert "decision.json was changed by another hand since it was tuned; it is used as it is" in caplog.text
    life.run.scores.write_text("better")
    with pytest.raises(RunError, match=r"scores\.json was changed by another hand; run `make tune`"):
        again(life).require("tune")


def test_an_edited_config_is_named(life: Life) -> None:
    text = life.run.config.read_text()
    life.run.config.write_text(text.replace("tune_for: precision_tgs", "tune_for: iou_image"))
    assert again(life).faults("tune") == ["config.yaml changed since"]
    assert again(life).faults("predict") == [], "the means do not depend on it"
    life.run.config.write_text(
        text.replace("accelerator: auto", "accelerator: cpu").replace("workers: 0", "workers: 3")
    )
    assert again(life).is_finished(with_test=True), "where to compute is no matter"
    life.run.config.write_text("a_key_of_a_later_version: 1\n" + text)
    assert again(life).is_finished(with_test=True), "nor what a stage does not know"


def test_what_came_while_a_stage_ran_is_not_taken_for_what_it_was_made_of(life: Life) -> None:
    made_of = life.ingredients("predict")
    train(life, 1)
    life.close("predict", sorted(life.run.test.glob("*")), made_of)
    assert again(life).faults("predict") == ["fold_1/done.json came since"]


def test_a_run_of_an_earlier_version_is_called_so(life: Life) -> None:
    life.run.seal("folds").unlink()
    with pytest.raises(RunError, match="begun by an earlier version of Saltern"):
        again(life).require_folds()


def test_nothing_is_closed_once_the_hold_is_lost(life: Life) -> None:
    with life.hold():
        (life.run.holds / "run").unlink()
        with pytest.raises(RunError, match="another process may have taken this over"):
            life.close("report", [life.run.report], life.ingredients("report"))
        with pytest.raises(RunError, match="another process may have taken this over"):
            life.forget("submit")
    assert life.run.submission.exists()


def test_without_test_images_there_is_nothing_to_submit(life: Life) -> None:
    life.forget("submit", "report")
    life.run.seal("predict").unlink()
    write_text(life.run.report, "page")
    life.close("report", [life.run.report], life.ingredients("report"))
    assert again(life).is_finished(with_test=False)
    assert not again(life).is_finished(with_test=True)


@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"files": 3, "made_of": {}}', "{", "\udcff"])
def test_a_seal_of_another_shape_is_named(content: str, life: Life) -> None:
    life.run.fold(0).done.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match=r"done\.json: not"):
        again(life).trained_folds([0])


def test_an_ensemble_names_the_member_that_changed(life: Life, config: RunConfig) -> None:
    own = replace(config, name="blend")
    blend = Life(RunDir.of(own.outputs, "blend"), own)
    shard = blend.run.oof / "oof_0_00000.safetensors"
    blend.begin({})
    write_text(shard, "means")
    facts = {"runs": ["a"], "weights": [1.0], "folds": [0]}
    blend.close_ensemble([shard], blend.members_ingredients([life]), facts)
    assert again(blend).trained_folds([0]) == [0]
    assert again(blend).is_averaged(facts)
    train(life, 0, "other weights")
    with pytest.raises(RunError, match=r"\.\./a/fold_0/done\.json changed since; give the `make ensemble`"):
        again(blend).trained_folds([0])
    life.run.fold(0).done.unlink()
    assert again(blend).is_averaged(facts), "a member that is gone cannot contradict"
    assert not again(blend).is_averaged({**facts, "weights": [2.0]})


def test_half_made_folds_are_made_again_and_others_settings_refused(config: RunConfig) -> None:
    life = Life(RunDir.of(config.outputs, config.name), config)
    life.begin({})
    write_text(life.run.folds, "id,fold\n")
    assert not again(life).is_divided(), "the power went before they were closed"
    life.close_folds()
    assert again(life).is_divided()
    with pytest.raises(ConfigError, match="seed: 0 in the run, 1 asked for"):
        Life(life.run, replace(config, seed=1)).begin({})


def test_what_is_overwritten_must_not_be_held(life: Life) -> None:
    overwriting = Life(life.run, replace(life.config, overwrite=True))
    with life.hold_fold(0), pytest.raises(RunError, match=r"fold_0: process \d+ on .* works on it"):
        overwriting.begin({})
    assert life.run.fold(0).best.exists()
    overwriting.begin({})
    assert sorted(path.name for path in life.run.path.iterdir()) == ["config.yaml", "environment.json"]


def test_seals_hold_hashes_that_sha256sum_gives(life: Life) -> None:
    content = json.loads(life.run.fold(0).done.read_text())
    assert content["files"]["fold_0/best.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert content["made_of"]["folds.csv"] == hashlib.sha256(b"id,fold\n").hexdigest()
    assert content["best"] == 0.5
    write_json(life.run.path / "unrelated.json", {})
    assert again(life).is_finished(with_test=True)
