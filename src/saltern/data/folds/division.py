"""From a data set and a config to a verified split, reading every image at most once."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from saltern.config import FoldsConfig
from saltern.data.folds.assign import assign_folds
from saltern.data.folds.groups import DUPLICATES, fingerprints_of, groups_of, needs_prints
from saltern.data.folds.leaks import FoldsReport, verify_folds
from saltern.data.folds.membership import belonging
from saltern.data.folds.neighbours import count_neighbours
from saltern.data.folds.soundness import judge_folds
from saltern.data.likeness.chains import Chains, chained
from saltern.data.likeness.duplicates import near_clusters
from saltern.data.likeness.looks import Looks
from saltern.data.likeness.mosaics import Mosaics, mosaics_of
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError
from saltern.progress import Progress

CHAIN_SHARE = 0.2
"""Loose links join at most this share of a fold's images into one chain (two at least)."""


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
    """Divide the labelled images into folds, verify the outcome, and compare the labelled images with the test.

    Every image is read once with `config.check_images`, and for adjacency; for groups of duplicates the labelled ones.

    Raises:
        ConfigError: a column or pattern that does not group this data set.
        DataError: too few images or groups, a fold file that does not fit, an id in both train and test, an image that
            cannot be read, a fold that cannot be trained or scored.
    """
    train, adjacency = dataset.train, config.kind == "adjacency"
    whole = adjacency or config.check_images
    tiles = pd.concat([train, dataset.test], ignore_index=True) if whole else train
    repeated = tiles["id"][tiles["id"].duplicated()]
    if adjacency and len(repeated):
        raise DataError(f"{dataset.root}: {len(repeated)} ids are in train and test, such as {repeated.iloc[0]!r}.")
    prints = fingerprints_of(dataset, tiles, progress) if whole or needs_prints(config) else None
    look = Looks.of(prints, progress) if prints is not None and whole else None
    ours = None if prints is None else prints[: len(train)]
    chains = None
    if adjacency:
        assert look is not None, "adjacency without a look"
        most = max(2, math.floor(CHAIN_SHARE * len(train) / config.n))
        chains = chained(look.seams, config.max_ratio, np.arange(len(tiles)) < len(train), most)
        groups = groups_of(train, config, look.twins, chains, tiles["id"][len(train) :].tolist())
    else:
        groups = groups_of(
            train, config, near_clusters(ours, progress) if ours and config.group == DUPLICATES else None
        )
    folds = assign_folds(train, config, groups)
    mosaics = mosaics_of(look.seams) if look is not None and adjacency else None
    report = verify_folds(folds, train, groups, ours)
    notes = judge_folds(folds, train, None if groups is None else groups.loc[train["id"]])
    report = replace(report, notes=notes, mosaics=_described(mosaics, chains))
    if look is not None:
        report = _compared(report, look, folds, train, config)
    return Division(folds, report, tiles if adjacency else None, mosaics, belonging(train, groups))


def _compared(
    report: FoldsReport, look: Looks, folds: pd.DataFrame, train: pd.DataFrame, config: FoldsConfig
) -> FoldsReport:
    """The report, with neighbours across the split and a comparison of labelled and test images."""
    labelled = np.arange(len(look.prints)) < len(train)
    resemblance = look.resemblance(labelled)
    report = replace(report, resemblance={**resemblance.as_dict(), "lines": resemblance.lines()})
    if not look.seams.many:
        return report
    fold = folds.set_index("id")["fold"].loc[train["id"]].to_numpy()
    neighbours = count_neighbours(look.seams, fold, config.max_ratio)
    return replace(
        report,
        neighbours={**neighbours.as_dict(), "lines": neighbours.lines()},
        notes=[*neighbours.warnings(), *report.notes],
    )


def _described(mosaics: Mosaics | None, chains: Chains | None) -> dict[str, Any]:
    if mosaics is None or chains is None:
        return {}
    return {
        "tiles": len(mosaics.labels),
        "links": len(mosaics.links),
        "expected_false": mosaics.chance,
        "doubt_limit": mosaics.limit,
        "refused": len(mosaics.refused),
        "sizes": {str(size): count for size, count in mosaics.sizes().items()},
        "loose_links": len(chains.links),
        "loose_expected_false": chains.chance,
        "loose_refused": chains.refused,
        "largest_chain_allowed": chains.most,
        "largest_chain": int(np.bincount(chains.labels).max()) if len(chains.labels) else 0,
    }
