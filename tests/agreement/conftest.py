"""Runs to average and to compare."""

import shutil
from pathlib import Path

import pytest
from small_members import train


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the finished runs `a`, of stratified folds, and `c`, of folds by duplicates."""
    place = tmp_path_factory.mktemp("source")
    train(place, "a")
    train(place, "c", "folds=duplicates", "folds.seed=3")
    return place


@pytest.fixture
def place(source: Path, tmp_path: Path) -> Path:
    """A copy of it, and `b`, which is `a` again."""
    for name in ("a", "c"):
        shutil.copytree(source / "outputs" / name, tmp_path / "outputs" / name)
        config = tmp_path / "outputs" / name / "config.yaml"
        config.write_text(config.read_text().replace(str(source), str(tmp_path)))
    shutil.copytree(tmp_path / "outputs" / "a", tmp_path / "outputs" / "b")
    shutil.copytree(source / "data", tmp_path / "data")
    return tmp_path
