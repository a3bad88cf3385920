"""Assign, save, load and select folds.

A split is a table with the columns `id` (text) and `fold` (whole number), one row for every labelled image, sorted by
id. Folds are numbered from 0 without gaps. Fold -1 marks images that are trained on in every fold and never validated.
"""

import csv
import logging
import re
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold

from saltern.config import ALL_IMAGES, FoldsConfig
from saltern.data.folds.balance import balanced
from saltern.data.source.csvs import read_csv
from saltern.errors import ConfigError, DataError, unknown
from saltern.files import atomic

log = logging.getLogger(__name__)

ALWAYS_TRAIN = -1
"""The fold number of images that are never validated."""

COARSE_STRATA = 10
"""Coverage classes (besides the empty masks) where whole groups are balanced."""


@dataclass(frozen=True)
class FoldSplit:
    """One fold: the ids trained on and the ids validated, each in the order of the split."""

    number: int | str
    """ALL_IMAGES where every id is trained on and none validated."""
    train: list[str]
    val: list[str]


def assign_folds(table: pd.DataFrame, config: FoldsConfig, groups: pd.Series | None = None) -> pd.DataFrame:
    """Divide the labelled images of `table` by `config.kind`; ids and seed alone decide, not the order of the rows.

    Args:
        table: the sample table; `coverage` is read by the stratified kinds, `split` by `predefined`.
        config: `kind`, `n` and `seed`; `file` is read for `kind: file`.
        groups: for the group kinds, a label for every id (the index), see `saltern.data.folds.groups.groups_of`.

    Raises:
        DataError: fewer images or groups than folds, or a `split` column or file that does not fit the table.
    """
    if config.kind not in ASSIGNMENTS:
        raise ConfigError(f"folds.kind: {unknown('kind', config.kind, list(ASSIGNMENTS))}")
    repeated = table["id"][table["id"].duplicated()].unique().tolist()
    if repeated:
        raise DataError(f"{len(repeated)} ids stand for more than one image, such as {repeated[0]!r}; ids must differ.")
    table = table.sort_values("id", ignore_index=True)
    labels = None if groups is None else _labels_of(table, groups)
    folds = ASSIGNMENTS[config.kind](table, config, labels)
    return pd.DataFrame({"id": table["id"], "fold": np.asarray(folds, dtype=np.int64)})


def _labels_of(table: pd.DataFrame, groups: pd.Series) -> np.ndarray:
    missing = table["id"][~table["id"].isin(groups.index)].tolist()
    if missing:
        raise DataError(f"{len(missing)} images have no group, such as {missing[0]!r}; every id needs one.")
    return pd.factorize(groups.loc[table["id"]].to_numpy(), sort=True)[0]


def _require(count: int, config: FoldsConfig, what: str) -> None:
    if count < config.n:
        if count < 2:
            raise DataError(
                f"folds.n={config.n}: only {count} {what}, which cannot be divided. A network is trained on some "
                "images and scored on others: label more."
            )
        raise DataError(f"folds.n={config.n}: only {count} {what}; set folds.n to {count} or less.")


def strata(coverage: Sequence[float] | np.ndarray, most: int, size: int) -> np.ndarray:
    """Class of every image by coverage: empty masks are class 0, unknown coverage (all void) is class 1.

    The others follow in classes of equal count and rising coverage: at most `most`, each with at least `size` images.
    """
    coverage = np.asarray(coverage, dtype=float)
    classes = np.zeros(len(coverage), dtype=np.int64)
    classes[np.isnan(coverage)] = 1
    filled = np.flatnonzero(coverage > 0)
    ranked = filled[np.argsort(coverage[filled], kind="stable")]
    count = max(1, min(most, len(ranked) // size))
    for number, part in enumerate(np.array_split(ranked, count)):
        classes[part] = 2 + number
    return classes


def _number(splitter: object, count: int, classes: np.ndarray | None) -> np.ndarray:
    folds = np.full(count, ALWAYS_TRAIN, dtype=np.int64)
    with warnings.catch_warnings():  # a stratum below n images cannot be even
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = splitter.split(np.zeros(count), classes)  # type: ignore[attr-defined]
        for number, (_, val) in enumerate(parts):
            folds[val] = number
    return folds


def _random(table: pd.DataFrame, config: FoldsConfig, _labels: np.ndarray | None) -> np.ndarray:
    _require(len(table), config, "labelled images")
    return _number(KFold(config.n, shuffle=True, random_state=config.seed), len(table), None)


def _stratified(table: pd.DataFrame, config: FoldsConfig, _labels: np.ndarray | None) -> np.ndarray:
    _require(len(table), config, "labelled images")
    classes = strata(table["coverage"].to_numpy(), len(table), config.n)
    if np.bincount(classes).max() < config.n:
        log.warning("no coverage class has as many images as there are folds (%d); the folds are random", config.n)
        return _random(table, config, None)
    return _number(StratifiedKFold(config.n, shuffle=True, random_state=config.seed), len(table), classes)


def _known(labels: np.ndarray | None, config: FoldsConfig) -> np.ndarray:
    assert labels is not None, "a group kind without groups"
    count = int(labels.max()) + 1 if len(labels) else 0
    if count == 1:
        raise DataError(
            f"folds.kind={config.kind}: all {len(labels)} labelled images belong to one group, so no fold can be "
            "validated by networks that have not seen it; choose another group, or folds=stratified."
        )
    _require(count, config, "groups")
    return labels


def _group(table: pd.DataFrame, config: FoldsConfig, labels: np.ndarray | None) -> np.ndarray:
    nothing = np.zeros((len(table), 0))
    return balanced(nothing, _known(labels, config), config.n, np.random.default_rng(config.seed))


def _stratified_group(table: pd.DataFrame, config: FoldsConfig, labels: np.ndarray | None) -> np.ndarray:
    coverage = table["coverage"].to_numpy(dtype=float)
    classes = strata(coverage, COARSE_STRATA, config.n)
    if np.bincount(classes).max() < config.n:
        log.warning("too few images to balance coverage over %d folds; only their sizes are balanced", config.n)
        return _group(table, config, labels)
    features = np.column_stack([np.eye(int(classes.max()) + 1)[classes], np.nan_to_num(coverage)])
    return balanced(features, _known(labels, config), config.n, np.random.default_rng(config.seed))


def _predefined(table: pd.DataFrame, _config: FoldsConfig, _labels: np.ndarray | None) -> np.ndarray:
    if "split" not in table:
        raise DataError(
            "folds=predefined: this layout has no split of its own (no column `split`); choose another kind."
        )
    found = sorted(set(table["split"].astype(str)))
    if found != ["train", "val"]:
        raise DataError(f"folds=predefined: the column `split` holds {found}; expected both train and val.")
    return np.where(table["split"] == "val", 0, ALWAYS_TRAIN)


def _file(table: pd.DataFrame, config: FoldsConfig, _labels: np.ndarray | None) -> np.ndarray:
    assert config.file is not None, "kind file without a file"
    return load_folds(Path(config.file), table)["fold"].to_numpy()


ASSIGNMENTS: dict[str, Callable[[pd.DataFrame, FoldsConfig, np.ndarray | None], np.ndarray]] = {
    "random": _random,
    "stratified": _stratified,
    "group": _group,
    "stratified_group": _stratified_group,
    "adjacency": _stratified_group,
    "predefined": _predefined,
    "file": _file,
}


def save_folds(path: Path, folds: pd.DataFrame) -> None:
    """Write the columns `id` and `fold` as CSV in one step."""
    with atomic(path) as temporary:
        folds[["id", "fold"]].to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)


def load_folds(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Read a split and match it to the labelled images of `table` by id (text), whatever the order of the rows.

    Raises:
        DataError: not readable, without the columns, with repeated, missing or extra ids, or with folds that are not
            0, 1, … without a gap (and -1); all problems at once.
    """
    read = read_csv(path, ["id", "fold"])[["id", "fold"]]
    problems: list[str] = []
    for what, ids in (
        ("ids that stand there twice", read["id"][read["id"].duplicated()]),
        ("images of the data set that are missing", table["id"][~table["id"].isin(read["id"])]),
        ("ids without a labelled image", read["id"][~read["id"].isin(table["id"])]),
    ):
        if len(ids):
            problems.append(f"{len(ids)} {what}, such as {_some(ids)}")
    wrong = read["fold"][~read["fold"].str.fullmatch(r"-1|[0-9]{1,6}")]
    if len(wrong):
        problems.append(f"{len(wrong)} folds that are no whole number from -1 on, such as {_some(wrong)}")
    else:
        read = read.assign(fold=read["fold"].astype(np.int64))
        problems += _gaps(read)
    if problems:
        raise DataError.of(str(path), [*problems, "expected: columns id, fold; one row a labelled image"])
    return read.sort_values("id", ignore_index=True)


def read_fold_numbers(path: Path) -> list[int]:
    """The folds of a split that can be trained, ascending, where the data set is not there to match it to.

    Raises:
        DataError: not readable, or folds that are no whole numbers.
    """
    texts = set(read_csv(path, ["id", "fold"])["fold"])
    wrong = sorted(text for text in texts if not re.fullmatch(r"-1|[0-9]{1,6}", text))
    if wrong:
        raise DataError(f"{path}: folds that are no whole number from -1 on, such as {wrong[0]!r}.")
    return sorted(int(text) for text in texts if int(text) != ALWAYS_TRAIN)


def _gaps(folds: pd.DataFrame) -> list[str]:
    numbers = fold_numbers(folds)
    if numbers and numbers == list(range(len(numbers))):
        return []
    return [f"the folds {numbers} (besides -1); expected 0, 1, … without a gap"]


def _some(values: Sequence[Hashable] | pd.Series) -> str:
    return ", ".join(repr(value) for value in list(values)[:3])


def fold_numbers(folds: pd.DataFrame) -> list[int]:
    """The folds that can be trained, ascending; -1 is none of them."""
    return sorted(int(number) for number in set(folds["fold"]) if number != ALWAYS_TRAIN)


def select_fold(folds: pd.DataFrame, number: int | str) -> FoldSplit:
    """The ids to train on and to validate for fold `number`; for ALL_IMAGES every id, and none.

    Raises:
        DataError: no such fold, or nothing left to train on.
    """
    if number == ALL_IMAGES:
        return FoldSplit(number, folds["id"].tolist(), [])
    known = fold_numbers(folds)
    if number not in known:
        raise DataError(f"fold {number} does not exist; this split has the folds {known}.")
    inside = folds["fold"] == number
    if inside.all():
        raise DataError(f"fold {number} holds every image, so nothing is left to train on; use 2 folds or more.")
    return FoldSplit(number, folds["id"][~inside].tolist(), folds["id"][inside].tolist())
