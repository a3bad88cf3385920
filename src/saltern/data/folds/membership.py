"""Which labelled images belong together, kept with the run: whatever cuts or counts images later goes by it.

`groups.csv` has the columns id and group, a row a labelled image; group is empty where an image belongs to no other.
In memory such an image has a group of its own, which no label that was given can equal.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from saltern.config.choices import GROUPED_FOLDS
from saltern.data.source.csvs import read_csv
from saltern.errors import DataError
from saltern.files import atomic
from saltern.runs import RunDir

ALONE = "\0"
"""Begins the group of an image that belongs to no other; its id follows."""


def belonging(table: pd.DataFrame, groups: pd.Series | None) -> pd.Series | None:
    """Labels of the images of `table` by their id: those of `groups`, else those of its column `group`.

    Args:
        table: the labelled images; in its column `group`, where it has one, empty text means that an image is alone.
        groups: what the folds went by, as from `saltern.data.folds.groups.groups_of`, perhaps of more images.

    Returns:
        None where nobody asked for groups and the table knows of none; groups that were asked for and not found leave
        every image alone.
    """
    ids = pd.Series(table["id"].to_numpy(), dtype=str)
    if groups is not None:
        labels = pd.Series(groups.loc[ids].to_numpy(), dtype=str)
    elif "group" in table:
        labels = pd.Series(table["group"].to_numpy(), dtype=str)
    else:
        return None
    shared = labels.duplicated(keep=False) & (labels != "")
    if groups is None and not shared.any():
        return None
    own = [f"{ALONE}{name}" for name in ids]  # pandas drops a zero character that it is to put before a column
    return pd.Series(np.where(shared, labels.astype(object), own), index=pd.Index(ids))


def save_groups(path: Path, groups: pd.Series | Mapping[str, str] | None) -> None:
    """Write `groups` (id → label) as `groups.csv` in one step; with None there is no such file afterwards."""
    if groups is None:
        path.unlink(missing_ok=True)
        return
    rows = sorted((str(name), "" if label == f"{ALONE}{name}" else str(label)) for name, label in groups.items())
    with atomic(path) as temporary:
        pd.DataFrame(rows, columns=["id", "group"]).to_csv(temporary, index=False, quoting=csv.QUOTE_ALL)


def read_groups(run: RunDir) -> dict[str, str] | None:
    """Id → group of every labelled image of a run; None where there are no groups.

    Runs of an earlier version have no such file either, see `lacks_groups`.

    Raises:
        DataError: the file is not readable, or names an image twice.
    """
    if not run.groups.exists():
        return None
    table = read_csv(run.groups, ["id", "group"])
    repeated = table["id"][table["id"].duplicated()]
    if len(repeated):
        raise DataError(f"{run.groups}: holds the id {repeated.iloc[0]!r} twice; put the file back as it was.")
    pairs = zip(table["id"], table["group"], strict=True)
    return {name: label or f"{ALONE}{name}" for name, label in pairs}


def lacks_groups(run: RunDir, kind: str) -> bool:
    """Whether the run was divided by groups (`kind`: its `folds.kind`), but by a version that did not keep them."""
    return kind in GROUPED_FOLDS and not run.groups.exists()
