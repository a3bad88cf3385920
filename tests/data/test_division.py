"""From a data set on disk to a verified split."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltern.config import FoldsConfig, SampleConfig
from saltern.data.folds.division import divide
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root: Path = tmp_path_factory.mktemp("drawn") / "sample"
    return open_dataset(SampleConfig(root=str(root), train=30, test=6, side=32))


@pytest.mark.parametrize(
    "config", [FoldsConfig(kind="stratified"), FoldsConfig(kind="stratified_group", group="duplicates")]
)
def test_every_labelled_image_gets_a_fold(dataset: Dataset, config: FoldsConfig) -> None:
    if config.group == "duplicates":
        twin = dataset.train.iloc[0].copy()
        twin["id"] = "twin"
        dataset = Dataset(dataset.root, pd.concat([dataset.train, twin.to_frame().T], ignore_index=True), dataset.test)
        dataset.train[["height", "width"]] = dataset.train[["height", "width"]].astype(int)
        dataset.train["coverage"] = dataset.train["coverage"].astype(float)
    division = divide(dataset, config)
    assert sorted(division.folds["id"]) == sorted(dataset.train["id"])
    assert division.report.leaks == []
    assert division.mosaics is None
    assert sum(share.images for share in division.report.shares) == len(dataset.train)


def test_adjacency_counts_the_test_tiles_too(dataset: Dataset) -> None:
    division = divide(dataset, FoldsConfig(kind="adjacency", n=3))
    assert division.tiles is not None
    assert division.tiles["id"].tolist() == [*dataset.train["id"], *dataset.test["id"]]
    assert division.report.mosaics["tiles"] == 36
    assert set(division.folds["id"]) == set(dataset.train["id"])


def test_an_id_in_train_and_test_is_refused_for_adjacency(dataset: Dataset) -> None:
    both = Dataset(dataset.root, dataset.train, dataset.train)
    with pytest.raises(DataError, match="30 ids are in train and test"):
        divide(both, FoldsConfig(kind="adjacency"))


def test_images_are_not_read_where_nothing_asks_for_them(dataset: Dataset) -> None:
    gone = Dataset(dataset.root, dataset.train.assign(image="/nowhere.png"), dataset.test)
    folds = divide(gone, FoldsConfig(kind="stratified", check_images=False)).folds
    assert np.bincount(folds["fold"]).tolist() == [6] * 5
    with pytest.raises(DataError, match="no such file"):
        divide(gone, FoldsConfig(kind="stratified"))
