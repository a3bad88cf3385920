"""Whole groups in folds: every seed divides them anew, and no less evenly than scikit-learn does."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from saltern.config import FoldsConfig
from saltern.data.folds.assign import COARSE_STRATA, assign_folds, strata
from saltern.data.folds.balance import balanced
from saltern.errors import DataError

SEEDS = (0, 1, 2)


def table_of(count: int, seed: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    coverage = np.where(random.random(count) < 0.39, 0.0, random.beta(1, 2, count))
    return pd.DataFrame({"id": [f"{number:05d}" for number in range(count)], "coverage": coverage})


def groups_of(table: pd.DataFrame, shape: str) -> pd.Series:
    """Group labels by id: a few of very different sizes, or mosaics of up to eight among many single tiles."""
    random, count = np.random.default_rng(2), len(table)
    if shape == "different":
        chances = random.pareto(1.5, 60) + 0.2
        labels = random.choice(60, count, p=chances / chances.sum())
    else:
        labels = np.where(random.random(count) < 0.2, random.integers(0, count // 13, count), np.arange(count) + count)
    return pd.Series(labels.astype(str), index=pd.Index(table["id"]))


def partition(folds: pd.DataFrame) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(part["id"]) for _, part in folds.groupby("fold"))


def gaps(fold: np.ndarray, coverage: np.ndarray) -> tuple[int, float]:
    sizes = np.bincount(fold)
    means = np.bincount(fold, coverage) / sizes
    return int(sizes.max() - sizes.min()), float(means.max() - means.min())


def by_sklearn(table: pd.DataFrame, groups: pd.Series, kind: str, seed: int) -> np.ndarray:
    labels = np.random.default_rng(seed).permutation(10**4)[pd.factorize(groups, sort=True)[0]]
    fold = np.zeros(len(table), np.int64)
    classes = strata(table["coverage"].to_numpy(), COARSE_STRATA, 5)
    splitter = GroupKFold(5) if kind == "group" else StratifiedGroupKFold(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (_, val) in enumerate(splitter.split(table, classes, labels)):
            fold[val] = number
    return fold


@pytest.mark.parametrize("shape", ["different", "mosaics"])
@pytest.mark.parametrize("kind", ["group", "stratified_group"])
def test_seeds_differ_and_balance_is_no_worse_than_scikit_learns(kind: str, shape: str) -> None:
    table = table_of(700)
    groups, coverage = groups_of(table, shape), table["coverage"].to_numpy()
    divisions = [assign_folds(table, FoldsConfig(kind=kind, seed=seed), groups) for seed in SEEDS]
    assert len({partition(folds) for folds in divisions}) == len(SEEDS)
    ours = np.array([gaps(folds["fold"].to_numpy(), coverage) for folds in divisions])
    theirs = np.array([gaps(by_sklearn(table, groups, kind, seed), coverage) for seed in SEEDS])
    assert ours[:, 0].mean() <= theirs[:, 0].mean()
    if kind == "stratified_group":
        assert ours[:, 1].mean() <= theirs[:, 1].mean()


def test_the_same_ids_and_seed_give_the_same_folds_in_any_order() -> None:
    table = table_of(300)
    groups, config = groups_of(table, "different"), FoldsConfig(kind="stratified_group", seed=3)
    shuffled = table.sample(frac=1, random_state=1)
    again = assign_folds(shuffled, config, groups.loc[shuffled["id"]])
    pd.testing.assert_frame_equal(assign_folds(table, config, groups), again)


def test_a_handful_of_groups_is_divided_as_well_as_can_be() -> None:
    """All divisions of seven groups in two, by brute force."""
    sizes = np.array([9, 8, 7, 6, 5, 4, 3])
    labels = np.repeat(np.arange(7), sizes)
    best = min(abs(sum(sizes[number] * (2 * (way >> number & 1) - 1) for number in range(7))) for way in range(1, 127))
    counts = np.bincount(balanced(np.zeros((len(labels), 0)), labels, 2, np.random.default_rng(0)))
    assert abs(int(counts[0]) - int(counts[1])) == best == 0


@pytest.mark.parametrize("sizes", [[50, 1, 1, 1, 1], [30, 20, 1, 1, 1, 1]])
def test_every_fold_gets_a_group_however_large_one_is(sizes: list[int]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    fold = balanced(np.zeros((len(labels), 0)), labels, 5, np.random.default_rng(0))
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert all(len(set(fold[labels == group])) == 1 for group in range(len(sizes)))


@pytest.mark.parametrize("kind", ["group", "stratified_group", "adjacency"])
def test_a_single_group_cannot_be_divided(kind: str) -> None:
    table = table_of(20)
    with pytest.raises(DataError, match="all 20 labelled images belong to one group"):
        assign_folds(table, FoldsConfig(kind=kind), pd.Series(["a"] * 20, index=table["id"]))
