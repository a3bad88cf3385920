"""From a data set and a config to a verified split, reading every image at most once."""

from dataclasses import dataclass

import pandas as pd

from saltern.config import FoldsConfig
from saltern.data.folds.assign import assign_folds
from saltern.data.folds.groups import fingerprints_of, groups_of, needs_prints
from saltern.data.folds.leaks import FoldsReport, verify_folds
from saltern.data.folds.membership import belonging
from saltern.data.likeness.adjacency import Mosaics
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError
from saltern.progress import Progress


@dataclass(frozen=True)
class Division:
    """A split and what is known about it."""

    folds: pd.DataFrame
    """`id`, `fold`; for `saltern.data.folds.assign.save_folds`."""
    report: FoldsReport
    tiles: pd.DataFrame | None = None
    """For adjacency: the rows that `mosaics` counts, labelled images first, then the test images."""
    mosaics: Mosaics | None = None
    groups: pd.Series | None = None
    """Which labelled images belong together, as from `saltern.data.folds.membership.belonging`; None: none do."""


def divide(dataset: Dataset, config: FoldsConfig, progress: Progress | None = None) -> Division:
    """Divide the labelled images into folds and verify the outcome.

    Images are read only for groups by looks and, with `config.check_images`, to find duplicates across folds.

    Raises:
        ConfigError: a column or pattern that does not group this data set.
        DataError: too few images or groups, a fold file that does not fit, an id in both train and test.
    """
    train, by_looks = dataset.train, needs_prints(config)
    tiles = train
    if config.kind == "adjacency":
        tiles = pd.concat([train, dataset.test], ignore_index=True)
        repeated = tiles["id"][tiles["id"].duplicated()]
        if len(repeated):
            raise DataError(f"{dataset.root}: {len(repeated)} ids are in train and test, such as {repeated.iloc[0]!r}.")
    prints = fingerprints_of(dataset, tiles, progress) if by_looks or config.check_images else None
    groups, mosaics = groups_of(train, config, prints, tiles["id"][len(train) :].tolist())
    folds = assign_folds(train, config, groups)
    report = verify_folds(folds, train, groups, None if prints is None else prints[: len(train)], mosaics)
    return Division(folds, report, tiles if mosaics is not None else None, mosaics, belonging(train, groups))
