"""Run folders stay inside outputs/, and a half-written file never replaces a good one."""

import json
from pathlib import Path

import pytest

from saltern.errors import ConfigError, RunError
from saltern.runs import RunDir, atomic, read_json, write_json, write_text


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


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "good")

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            temporary.write_text("ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert path.read_text() == "good"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"threshold": 0.5, "empty_gate": None})
    assert json.loads(path.read_text()) == read_json(path) == {"threshold": 0.5, "empty_gate": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path)["threshold"] == 0.5


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RunError, match=r"a\.json: not readable"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_finished_folds_are_those_with_a_done_file(tmp_path: Path) -> None:
    run = RunDir.of(tmp_path, "a")
    for number in (10, 2):
        write_json(run.fold(number).done, {})
    run.fold(3).path.mkdir()
    assert run.finished_folds() == [2, 10]
