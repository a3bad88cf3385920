"""`make submit message=…` against a stand-in for Kaggle's command line that notes how it was called."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saltern.config import SubmissionConfig
from saltern.errors import ConfigError, DataError, RunError
from saltern.pipeline.handing_in import hand_in
from saltern.submission.handed_in import read_handed_in

ANSWER = "Successfully submitted to Salt"


@pytest.fixture
def kaggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stand-in, the only one on PATH; what it was called with stands in `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    for key in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(key, raising=False)
    return folder


def install(folder: Path, answer: str = ANSWER, status: int = 0) -> None:
    program = folder / "kaggle"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {folder}/calls\necho '{answer}'\nexit {status}\n")
    program.chmod(0o755)
    (folder.parent / ".kaggle").mkdir(exist_ok=True)
    (folder.parent / ".kaggle" / "kaggle.json").write_text("{}")


def job(tmp_path: Path, competition: str | None = "salt") -> Any:
    run = tmp_path / "outputs" / "try1"
    run.mkdir(parents=True, exist_ok=True)
    (run / "submission.csv").write_text("id,rle_mask\na,\n")
    form = SubmissionConfig(competition=competition)
    config = SimpleNamespace(name="try1", outputs=str(run.parent), submission=form)
    life = SimpleNamespace(faults=lambda _stage: [])
    return SimpleNamespace(config=config, life=life, run=SimpleNamespace(submission=run / "submission.csv"))


def test_the_file_goes_to_the_command_line_once_and_is_remembered(tmp_path: Path, kaggle: Path) -> None:
    install(kaggle)
    given = job(tmp_path)
    assert hand_in(given, "lr=0.1, 'first'") == ANSWER
    path = str(given.run.submission)
    called = ["competitions", "submit", "-c", "salt", "-f", path, "-m", "lr=0.1, 'first'"]
    assert (kaggle / "calls").read_text().splitlines() == called
    with (tmp_path / "outputs" / "submitted.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert (row["competition"], row["run"], row["message"]) == ("salt", "try1", "lr=0.1, 'first'")
    with pytest.raises(RunError, match=r"this very file was handed in to salt at 20.*again=true"):
        hand_in(given, "second")
    assert len((kaggle / "calls").read_text().splitlines()) == 8
    hand_in(given, "second", again=True)
    given.run.submission.write_text("id,rle_mask\na,1 1\n")
    hand_in(given, "another file")
    hand_in(job(tmp_path, "other"), "another place")
    messages = [item.message for item in read_handed_in(tmp_path / "outputs" / "submitted.csv")]
    assert messages == ["lr=0.1, 'first'", "second", "another file", "another place"]


def test_what_is_missing_is_said(tmp_path: Path, kaggle: Path) -> None:
    with pytest.raises(ConfigError, match=r"submission\.competition=None: .*submission\.competition=tgs-salt"):
        hand_in(job(tmp_path, None), "x")
    with pytest.raises(DataError, match=r"pip install kaggle\. Or upload .*competitions/salt/submit"):
        hand_in(job(tmp_path), "x")
    install(kaggle)
    (tmp_path / ".kaggle" / "kaggle.json").unlink()
    with pytest.raises(DataError, match=r"no Kaggle token: .*kaggle\.json is missing"):
        hand_in(job(tmp_path), "x")


@pytest.mark.parametrize(
    ("status", "answer", "told"),
    [
        (1, "403 - Forbidden", "accept the rules"),
        (1, "boom", r"kaggle could not submit \(salt\)"),
        (0, "Could not submit", "did not say that salt took it"),
    ],
)
def test_what_kaggle_did_not_take_is_not_remembered(
    tmp_path: Path, kaggle: Path, status: int, answer: str, told: str
) -> None:
    install(kaggle, answer, status)
    with pytest.raises(DataError, match=told):
        hand_in(job(tmp_path), "x")
    assert not (tmp_path / "outputs" / "submitted.csv").exists()


def test_a_damaged_record_is_told_instead_of_forgotten(tmp_path: Path, kaggle: Path) -> None:
    install(kaggle)
    given = job(tmp_path)
    (tmp_path / "outputs" / "submitted.csv").write_text("time\n1\n")
    with pytest.raises(RunError, match=r"submitted\.csv: expected the columns time, competition"):
        hand_in(given, "x")
    assert not (kaggle / "calls").exists()
