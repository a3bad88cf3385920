"""The Kaggle command line is called where it is, and what is missing is said where it is not."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from saltern.data.archives.download import download_competition
from saltern.errors import ConfigError, DataError
from saltern.kaggle import run_command

NAME = "tgs-salt-identification-challenge"


def fetch(tmp_path: Path, status: int = 0, said: str = "", **changes: object) -> Path:
    def run(command: Sequence[str]) -> tuple[int, str]:
        assert command[:5] == ["/bin/kaggle", "competitions", "download", "-c", NAME]
        if status == 0 and not said:
            (Path(command[-1]) / f"{NAME}.zip").write_bytes(b"archive")
        return status, said

    known: dict[str, object] = {
        "run": run,
        "which": lambda name: f"/bin/{name}",
        "environment": {"KAGGLE_USERNAME": "a", "KAGGLE_KEY": "b"},
    }
    return download_competition(NAME, tmp_path / "downloads", **(known | changes))  # type: ignore[arg-type]


def test_the_archive_comes_and_is_not_fetched_twice(tmp_path: Path) -> None:
    path = fetch(tmp_path)
    assert path.read_bytes() == b"archive"
    assert list(path.parent.iterdir()) == [path]
    assert fetch(tmp_path, which=lambda _: None) == path


def test_the_token_may_be_a_file(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    with pytest.raises(DataError, match=r"kaggle\.json is missing"):
        fetch(tmp_path, environment=environment)
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text("{}")
    assert fetch(tmp_path, environment=environment).exists()


def test_the_token_may_lie_where_the_client_looks_next(tmp_path: Path) -> None:
    (tmp_path / ".config" / "kaggle").mkdir(parents=True)
    (tmp_path / ".config" / "kaggle" / "kaggle.json").write_text("{}")
    assert fetch(tmp_path, environment={"HOME": str(tmp_path)}).exists()


@pytest.mark.parametrize(
    ("status", "said", "told"),
    [
        (1, "403 - Forbidden", "accept the rules at https://www.kaggle.com/competitions/tgs"),
        (1, "You must accept this competition's rules", "accept the rules"),
        (1, "401 - Unauthorized", "does not accept the token"),
        (1, "404 - Not Found", "knows no competition"),
        (1, "boom", "said: boom"),
        (0, "nothing to do", "ended without an archive"),
    ],
)
def test_what_went_wrong_is_said(tmp_path: Path, status: int, said: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        fetch(tmp_path, status, said)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_without_the_program_the_way_to_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="pip install kaggle"):
        fetch(tmp_path, which=lambda _: None)


@pytest.mark.parametrize("name", ["", "-p", "../x", "Tgs Salt", "a/b"])
def test_what_is_no_competition_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="expected the name in its address"):
        download_competition(name, tmp_path)


def test_a_command_gives_its_status_and_all_it_printed() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr\n")
