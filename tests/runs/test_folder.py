"""Run folders stay inside outputs/."""

from pathlib import Path

import pytest

from saltern.errors import ConfigError
from saltern.files import write_json
from saltern.runs import RunDir


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "", ".", "a/../..", "a/../../b"])
def test_a_name_that_leaves_outputs_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name="):
        RunDir.of(tmp_path / "outputs", name)


def test_a_link_that_leaves_outputs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs" / "sly").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="outside"):
        RunDir.of(tmp_path / "outputs", "sly")


def test_a_plain_name_lies_in_outputs(tmp_path: Path) -> None:
    assert RunDir.of(tmp_path, "try1").path == tmp_path / "try1"


def test_sealed_folds_are_those_with_a_done_file(tmp_path: Path) -> None:
    run = RunDir.of(tmp_path, "a")
    for number in (10, 2):
        write_json(run.fold(number).done, {})
    run.fold(3).path.mkdir()
    for name in ("fold_0_old", "fold_0_1", "fold_x", "fold_all"):
        write_json(run.path / name / "done.json", {})
    assert run.sealed_folds() == [2, 10], "a copied fold is no fold, nor is the network of all images"
    assert sorted(str(fold.number) for fold in run.begun_folds()) == ["10", "2", "3", "all"]


def test_what_precedes_the_config_does_not_block_a_run(tmp_path: Path) -> None:
    run = RunDir.of(tmp_path, "b")
    assert run.is_fresh()
    write_json(run.environment, {})
    write_json(run.dataset_report, {})
    (run.path / "config.yaml.77.tmp").write_text("half")
    (run.path / ".held").mkdir()
    assert run.is_fresh()
    (run.path / "notes.txt").write_text("mine")
    assert not run.is_fresh()
