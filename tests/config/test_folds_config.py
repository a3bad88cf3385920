"""The group `folds`: every kind composes, and settings that contradict the kind are refused."""

from pathlib import Path

import pytest

from saltern.config import CONFIG_DIR, compose_config
from saltern.config.choices import FOLD_KINDS
from saltern.data.folds.assign import ASSIGNMENTS
from saltern.errors import ConfigError

NEEDED = {
    "group": ["folds.group=depth"],
    "stratified_group": ["folds.regex='^(.+)_'"],
    "file": ["folds.file=mine.csv"],
}


def test_every_kind_of_folds_has_a_file_that_composes() -> None:
    names = sorted(Path(CONFIG_DIR, "folds").glob("*.yaml"))
    assert len(names) >= len(FOLD_KINDS)
    kinds = {compose_config("run", [f"folds={path.stem}", *NEEDED.get(path.stem, [])]).folds.kind for path in names}
    assert kinds == set(FOLD_KINDS) == set(ASSIGNMENTS)


@pytest.mark.parametrize(
    "overrides",
    [
        ["folds=group"],
        ["folds=group", "folds.group=depth", "folds.regex=a"],
        ["folds=stratified", "folds.group=depth"],
        ["folds=random", "folds.regex=a"],
        ["folds=group", "folds.regex='('"],
        ["folds=file"],
        ["folds=random", "folds.file=mine.csv"],
        ["folds.n=1"],
        ["folds=adjacency", "folds.max_ratio=0"],
        ["folds=adjacency", "folds.max_ratio=1.1"],
        ["folds.seed=-1"],
    ],
)
def test_contradictions_are_refused(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"expected|regular expression"):
        compose_config("run", overrides)
