"""Which images must stay in one fold: by a column, by a part of the id, by looks, or by adjoining borders."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from saltern.config import FoldsConfig
from saltern.data.folds.membership import ALONE
from saltern.data.likeness.chains import Chains
from saltern.data.likeness.duplicates import joined
from saltern.data.likeness.fingerprints import Fingerprint, read_all
from saltern.data.source.dataset import Dataset
from saltern.data.source.limits import PIXELS
from saltern.data.source.problems import Problems, caught
from saltern.errors import ConfigError, unknown
from saltern.progress import Progress

DUPLICATES = "duplicates"
"""`folds.group=duplicates` asks for clusters of images that look the same."""
_TEXT_COLUMNS = ("id", "image", "mask", "rle")


def fingerprints_of(dataset: Dataset, table: pd.DataFrame, progress: Progress | None = None) -> list[Fingerprint]:
    """The fingerprint of the image of every row of `table`, in its order; reads every image once.

    Raises:
        DataError: lists every image that cannot be read.
    """
    rows: list[Any] = list(table.itertuples(index=False))
    problems = Problems(dataset.root)

    def condensed(row: Any) -> Fingerprint:
        with PIXELS.hold(int(row.height) * int(row.width)):
            return Fingerprint.of(dataset.read_image(row))

    found = read_all(rows, caught(condensed), progress)
    prints = problems.sift("unreadable files", found)
    problems.raise_any()
    return prints


def column_groups(table: pd.DataFrame, column: str) -> pd.Series:
    """The column as group labels, indexed by id; an image with an empty or missing value is a group of its own.

    Raises:
        ConfigError: no such column, or one that groups nothing or everything.
    """
    known = [name for name in table.columns if name not in _TEXT_COLUMNS]
    if column not in known:
        raise ConfigError(f"folds.group: {unknown('column', column, [*known, DUPLICATES])}")
    values = table[column]
    given = values.notna() & (values.astype(str) != "")
    return _sensible(table, values.astype(str), given, f"folds.group={column}")


def regex_groups(table: pd.DataFrame, pattern: str) -> pd.Series:
    """Group labels, indexed by id: the first bracketed part of `pattern` in the id, or the whole match without one.

    Raises:
        ConfigError: the pattern is not found in some ids, or it groups nothing or everything.
    """
    expression = re.compile(pattern)
    found = [expression.search(name) for name in table["id"]]
    unmatched = [name for name, match in zip(table["id"], found, strict=True) if match is None]
    if unmatched:
        raise ConfigError(
            f"folds.regex={pattern!r}: not found in {len(unmatched)} of {len(table)} ids, such as {unmatched[0]!r}; "
            "expected a pattern that is found in every id."
        )
    matches = [match for match in found if match is not None]
    part = 1 if expression.groups else 0
    labels = pd.Series([match.group(part) or "" for match in matches], index=table.index)
    return _sensible(table, labels, labels != "", f"folds.regex={pattern!r}")


def _sensible(table: pd.DataFrame, labels: pd.Series, given: pd.Series, where: str) -> pd.Series:
    named = labels[given]
    if named.nunique() == len(named):
        raise ConfigError(f"{where}: groups nothing; no two of the {len(table)} images share a group.")
    if given.all() and named.nunique() == 1:
        raise ConfigError(
            f"{where}: puts all {len(table)} images into one group, {named.iloc[0]!r}; nothing to divide."
        )
    own = [f"{ALONE}{name}" for name in table["id"]]  # pandas drops a zero character that it is to put before a column
    return pd.Series(np.where(given, labels.astype(object), own), index=pd.Index(table["id"]))


def duplicate_groups(table: pd.DataFrame, twins: np.ndarray) -> pd.Series:
    """Clusters of exact and near-duplicates, as `near_clusters` numbers them, as group labels indexed by id."""
    return _named(table["id"], twins)


def adjacency_groups(ids: Iterable[str], chains: Chains, twins: np.ndarray) -> pd.Series:
    """Chains of adjoining tiles, with the duplicates of their tiles (`near_clusters`), as labels indexed by id."""
    return _named(ids, joined(chains.labels, _pairs_within(twins, chains.labels)))


def _pairs_within(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Pairs of `labels` that meet in one cluster: each image's with that of the cluster's first image."""
    _, first, member = np.unique(clusters, return_index=True, return_inverse=True)
    return np.stack([labels, labels[first[member]]], axis=1)


def _named(ids: Iterable[str], labels: np.ndarray) -> pd.Series:
    """Labels by the smallest id in each, so that they do not depend on the order of the images."""
    series = pd.Series(list(ids), dtype=str)
    return pd.Series(series.groupby(labels).transform("min").to_numpy(), index=pd.Index(series))


def groups_of(
    table: pd.DataFrame,
    config: FoldsConfig,
    twins: np.ndarray | None = None,
    chains: Chains | None = None,
    test_ids: Sequence[str] = (),
) -> pd.Series | None:
    """The groups that `config` asks for, indexed by id: None for kinds without groups.

    Args:
        table: the labelled images.
        config: `kind`, `group` and `regex`.
        twins: for groups by looks: the clusters of look-alikes among the images of `table`, then the test images.
        chains: for `adjacency`: the chains of these images.
        test_ids: for `adjacency`, since two labelled tiles may belong together through a test tile.

    Raises:
        ConfigError: a column or pattern that does not group this data set.
    """
    if config.kind == "adjacency":
        assert chains is not None, "adjacency without chains"
        assert twins is not None, "adjacency without a look"
        return adjacency_groups([*table["id"], *test_ids], chains, twins)
    if config.group == DUPLICATES:
        assert twins is not None, "groups by looks without a look"
        return duplicate_groups(table, twins[: len(table)])
    if config.regex is not None:
        return regex_groups(table, config.regex)
    if config.group is not None:
        return column_groups(table, config.group)
    return None


def needs_prints(config: FoldsConfig) -> bool:
    """Whether the groups of this kind come from the images themselves."""
    return config.kind == "adjacency" or config.group == DUPLICATES
