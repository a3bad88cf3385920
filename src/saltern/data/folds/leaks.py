"""Verify a split: equal coverage in every fold, and nothing in two folds that belongs together."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saltern.data.folds.assign import ALWAYS_TRAIN
from saltern.data.likeness.duplicates import exact_clusters, near_clusters
from saltern.data.likeness.fingerprints import Fingerprint
from saltern.files import read_as

STANDARD_ERRORS = 3.0
"""A fold's mean coverage further from the whole set's than this many standard errors is reported."""


@dataclass(frozen=True)
class FoldShare:
    """What one fold holds."""

    fold: int
    """-1: trained on, never validated."""
    images: int
    empty_share: float
    """Share of images with an empty mask."""
    mean_coverage: float | None
    """None where no image of the fold has known coverage."""


@dataclass(frozen=True)
class Leak:
    """Sets of images that belong together and lie in more than one fold."""

    kind: str
    """`groups`, `constant images`, `exact duplicates` or `near-duplicates`."""
    sets: int
    images: int
    """Images in these sets."""
    examples: list[list[str]]
    """The ids of a few sets, a few of each."""

    def line(self) -> str:
        """One sentence for people."""
        sets = "1 set" if self.sets == 1 else f"{self.sets} sets"
        return f"{self.kind} across folds: {sets} with {self.images} images, such as {', '.join(self.examples[0])}"


@dataclass(frozen=True)
class FoldsReport:
    """What is known about a split, ready for JSON with `as_dict`."""

    shares: list[FoldShare]
    leaks: list[Leak]
    uneven: list[str]
    """Folds whose coverage differs by more than chance would."""
    mosaics: dict[str, Any] = field(default_factory=dict)
    """For adjacency: tiles, clear links, those expected to be false, those refused, the number of mosaics by size; and
    the same for the loose links that join tiles for the folds."""
    notes: list[str] = field(default_factory=list)
    """What makes scores of these folds say little, by images, foreground, groups and neighbours."""
    neighbours: dict[str, Any] = field(default_factory=dict)
    """Where the images are tiles: see `saltern.data.folds.neighbours.Neighbours`; not given without `check_images`."""
    resemblance: dict[str, Any] = field(default_factory=dict)
    """Labelled images beside the test: see `saltern.data.likeness.resemblance`; not given without `check_images`."""

    def warnings(self) -> list[str]:
        """Everything that is not as it should be, a sentence each; empty where all is well."""
        return [*(leak.line() for leak in self.leaks), *self.uneven, *self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts for JSON."""
        return asdict(self)


def read_folds_report(path: Path) -> FoldsReport:
    """Read `folds.json`.

    Raises:
        RunError: the file is missing or is no such report.
    """
    return read_as(path, FoldsReport, "It is for reading alone: the run goes on without it.")


def verify_folds(
    folds: pd.DataFrame,
    table: pd.DataFrame,
    groups: pd.Series | None = None,
    prints: Sequence[Fingerprint] | None = None,
) -> FoldsReport:
    """Measure every fold and look for leaks between them; images of fold -1 leak into any fold that is validated.

    Args:
        folds: the split, matched to `table` by id.
        table: the labelled images; `coverage` is read, and `group` where it is filled.
        groups: labels indexed by id, besides the column `group`; None: none were asked for.
        prints: fingerprints in the order of `table`; None: duplicates are not looked for.
    """
    fold = pd.Series(folds["fold"].to_numpy(), index=pd.Index(folds["id"])).loc[table["id"]].to_numpy()
    ids = table["id"].to_numpy()
    leaks = []
    if groups is not None:
        leaks += _crossing("groups", groups.loc[table["id"]].to_numpy(), fold, ids)
    elif "group" in table and (table["group"] != "").any():
        named = (table["group"] != "").to_numpy()
        leaks += _crossing("groups", table["group"].to_numpy()[named], fold[named], ids[named])
    if prints is not None:
        leaks += _duplicates(prints, fold, ids)
    shares = [_share(int(number), table[fold == number]) for number in np.unique(fold)]
    return FoldsReport(shares, leaks, _uneven(shares, table["coverage"].to_numpy()))


def _crossing(kind: str, labels: np.ndarray, fold: np.ndarray, ids: np.ndarray) -> list[Leak]:
    frame = pd.DataFrame({"label": labels, "fold": fold, "id": ids})
    crossing = frame[frame.groupby("label")["fold"].transform("nunique") > 1]
    if crossing.empty:
        return []
    sets = [sorted(part)[:4] for _, part in crossing.groupby("label", sort=False)["id"]]
    return [Leak(kind, len(sets), len(crossing), sets[:5])]


def _duplicates(prints: Sequence[Fingerprint], fold: np.ndarray, ids: np.ndarray) -> list[Leak]:
    constant = np.array([item.constant for item in prints])
    exact, near = exact_clusters(prints), near_clusters(prints)
    both = np.unique(np.stack([exact, near], axis=1), axis=0)
    chained = np.isin(near, np.flatnonzero(np.bincount(both[:, 1]) > 1))  # more than copies of one image
    return [
        *_crossing("constant images", exact[constant], fold[constant], ids[constant]),
        *_crossing("exact duplicates", exact[~constant], fold[~constant], ids[~constant]),
        *_crossing("near-duplicates", near[chained], fold[chained], ids[chained]),
    ]


def _share(number: int, part: pd.DataFrame) -> FoldShare:
    coverage = part["coverage"].to_numpy(dtype=float)
    mean = float(np.nanmean(coverage)) if np.isfinite(coverage).any() else None
    return FoldShare(number, len(part), float((coverage == 0).mean()), mean)


def _uneven(shares: Sequence[FoldShare], coverage: np.ndarray) -> list[str]:
    known = coverage[np.isfinite(coverage)]
    if not len(known):
        return []
    overall, spread = known.mean(), known.std()
    lines = []
    for share in shares:
        if share.fold == ALWAYS_TRAIN or share.mean_coverage is None:
            continue
        gap = abs(share.mean_coverage - overall)
        if gap > STANDARD_ERRORS * spread / math.sqrt(share.images):
            lines.append(
                f"fold {share.fold}: mean coverage {share.mean_coverage:.3f}, {overall:.3f} over all images; "
                "scores of this fold say little about the others"
            )
    return lines
