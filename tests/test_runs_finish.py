"""When a run counts as finished: never while an artifact is missing or rests on fewer folds."""

from pathlib import Path

import pytest

from saltern.files import write_json, write_text
from saltern.runs import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run of fold 0."""
    run = RunDir.of(tmp_path, "a")
    write_json(run.fold(0).done, {})
    write_json(run.scores, {"folds": [0]})
    write_json(run.predicted, {"folds": [0], "images": 2})
    for path in (run.decision, run.submission, run.report):
        write_text(path, "there")
    return run


def test_all_artifacts_of_all_trained_folds_make_a_finished_run(run: RunDir) -> None:
    assert run.is_finished(with_test=True)


def test_one_more_fold_unfinishes_it(run: RunDir) -> None:
    write_json(run.fold(1).done, {})
    assert not run.is_finished(with_test=True)
    write_json(run.scores, {"folds": [0, 1]})
    assert not run.is_finished(with_test=True), "the test images were predicted by fold 0 alone"
    write_json(run.predicted, {"folds": [0, 1], "images": 2})
    assert run.is_finished(with_test=True)


def test_a_copied_fold_is_no_fold(run: RunDir) -> None:
    for name in ("fold_0_old", "fold_0_1", "fold_x"):
        write_json(run.path / name / "done.json", {})
    assert run.finished_folds() == [0]


@pytest.mark.parametrize("name", ["decision", "scores", "submission", "report", "predicted"])
def test_a_missing_artifact_unfinishes_it(name: str, run: RunDir) -> None:
    run.forget(getattr(run, name))
    assert not run.is_finished(with_test=True)


def test_without_test_images_there_is_nothing_to_submit(run: RunDir) -> None:
    run.forget(run.submission, run.predicted)
    assert run.is_finished(with_test=False)


def test_what_precedes_the_config_does_not_block_a_run(tmp_path: Path) -> None:
    run = RunDir.of(tmp_path, "b")
    assert run.is_fresh()
    write_json(run.environment, {})
    write_json(run.dataset_report, {})
    write_text(run.path / "config.yaml.77.tmp", "half")
    assert run.is_fresh()
    write_text(run.path / "notes.txt", "mine")
    assert not run.is_fresh()
