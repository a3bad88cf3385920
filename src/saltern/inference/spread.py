"""How far a score moves from seed to seed, measured on the runs that `make seeds` trained: `seeds.json`."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from pydantic import BaseModel, model_validator
from scipy import stats

from saltern.errors import ConfigError, RunError
from saltern.files import read_as
from saltern.inference.halves import Labels, clusters_of
from saltern.metrics.noise import Retrain, Values, learned
from saltern.metrics.scores import PER_IMAGE
from saltern.runs import RunDir


class ColumnSpread(BaseModel):
    """Of one column of `oof_nested.csv`."""

    scores: list[float]
    """The mean of each run, in the order of `runs`, on the same images."""
    sd: float
    """Standard deviation of these."""
    interval: tuple[float, float]
    """In which the true one lies, 95 times of 100, if it is normal."""
    retrain_variance: float
    """What is believed of one network: the default, moved by this measurement."""
    retrain_df: float


class Spread(BaseModel):
    """The content of `seeds.json`."""

    runs: list[str]
    """The run itself first."""
    seeds: list[int]
    images: int
    columns: dict[str, ColumnSpread]

    @model_validator(mode="after")
    def _whole(self) -> "Spread":
        if len(self.runs) < 2 or len({*self.runs}) < len(self.runs) or len({*self.seeds}) < len(self.seeds):
            raise ValueError("expected two or more different runs, each with a seed of its own")
        if len(self.seeds) != len(self.runs) or self.columns.keys() != PER_IMAGE.keys():
            raise ValueError(f"expected a seed for each run, and the columns {', '.join(PER_IMAGE)}")
        for column in self.columns.values():
            numbers = (*column.scores, column.sd, *column.interval, column.retrain_variance, column.retrain_df)
            if len(column.scores) != len(self.runs) or not all(0 <= number < math.inf for number in numbers):
                raise ValueError("expected a score of each run, and no number below 0, infinite or NaN")
            if not column.retrain_df:
                raise ValueError("retrain_df=0: expected more")
        return self

    def retrain(self, column: str) -> Retrain:
        """What is known of one network's shift of the mean of `column`."""
        found = self.columns[column]
        return Retrain(found.retrain_variance, found.retrain_df)


def read_spread(run: RunDir) -> Spread | None:
    """The run's `seeds.json`; None where it was never measured.

    Raises:
        RunError: the file is damaged.
    """
    if not run.seeds.exists():
        return None
    return read_as(run.seeds, Spread, f"Delete it, or run `make seeds name={run.name}` again.")


def measure_spread(
    tables: Mapping[str, pd.DataFrame], seeds: list[int], clusters: Mapping[str, str] | None = None
) -> Spread:
    """How far the means of runs that differ in their seed alone lie from each other.

    Args:
        tables: run → its `oof_nested.csv`, all over the same images in the same folds; two or more.
        seeds: the seed of each.
        clusters: id → what it belongs to; None: each image is its own.

    Raises:
        ConfigError: fewer than two runs.
        RunError: other images or folds in one of them, or an image without a group.
    """
    if len(tables) < 2:
        raise ConfigError(f"seeds={seeds}: one training shows no spread; expected two or more.")
    (first_name, first), *others = (
        (name, table.sort_values("id", ignore_index=True)) for name, table in tables.items()
    )
    for name, other in others:
        if not other[["id", "fold"]].equals(first[["id", "fold"]]):
            raise RunError(f"{name} and {first_name} were not scored on the same images in the same folds.")
    labels = clusters_of(list(first["id"]), clusters)
    stacked = [first, *(other for _, other in others)]
    columns = {
        column: _column(np.stack([table[column].to_numpy(np.float64) for table in stacked]), labels, first["fold"])
        for column in PER_IMAGE
    }
    return Spread(runs=list(tables), seeds=seeds, images=len(first), columns=columns)


def pooled_retrain(
    recipes: Iterable[Sequence[pd.DataFrame]], column: str, clusters: Mapping[str, str] | None = None
) -> Retrain:
    """What the seeds of several recipes say together of one network's shift of the mean of `column`.

    Args:
        recipes: of each, the tables of `measure_spread`, all over the same ids; one table shows no spread.
        column: of `oof_nested.csv`.
        clusters: as in `measure_spread`.
    """
    known = Retrain()
    for tables in recipes:
        ordered = [table.sort_values("id", ignore_index=True) for table in tables]
        first, count = ordered[0], len(ordered)
        labels = clusters_of(list(first["id"]), clusters)
        scores = np.concatenate([table[column].to_numpy(np.float64) for table in ordered])
        folds, seeds = np.tile(first["fold"].to_numpy(), count), np.repeat(np.arange(count), len(first))
        known = learned(scores, np.tile(labels, count), folds, seeds, known, ask_folds=False)
    return known


def _column(scores: Values, labels: Labels, folds: pd.Series) -> ColumnSpread:
    """Of `scores` (seeds, images)."""
    count, images = scores.shape
    means = scores.mean(axis=1)
    sd, df = float(means.std(ddof=1)), count - 1
    low, high = (sd * math.sqrt(df / float(stats.chi2.ppf(point, df))) for point in (0.975, 0.025))
    clusters, repeated = np.tile(labels, count), np.tile(folds.to_numpy(), count)
    known = learned(scores.ravel(), clusters, repeated, np.repeat(np.arange(count), images))
    return ColumnSpread(
        scores=means.tolist(),
        sd=sd,
        interval=(low, high),
        retrain_variance=known.variance,
        retrain_df=known.df,
    )
