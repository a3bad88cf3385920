"""A split is verified: coverage, groups, duplicates."""

import json

import numpy as np
import pandas as pd
import pytest

from saltern.config import FoldsConfig
from saltern.data.folds.assign import assign_folds
from saltern.data.folds.leaks import verify_folds
from saltern.data.layouts.section import draw_section
from saltern.data.likeness.fingerprints import Fingerprint


def table_of(coverage: list[float]) -> pd.DataFrame:
    ids = [f"{number:03d}" for number in range(len(coverage))]
    return pd.DataFrame({"id": ids, "coverage": coverage, "group": [""] * len(ids)})


def folds_of(*folds: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{number:03d}" for number in range(len(folds))], "fold": folds})


def test_shares_are_those_of_the_folds_and_matched_by_id() -> None:
    report = verify_folds(folds_of(0, 0, 1, -1)[::-1], table_of([0.0, 0.5, 0.0, 0.1]))
    shares = {share.fold: (share.images, share.empty_share, share.mean_coverage) for share in report.shares}
    assert shares == {-1: (1, 0.0, 0.1), 0: (2, 0.5, 0.25), 1: (1, 1.0, 0.0)}
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["shares"][1]["images"] == 2


def test_a_group_in_two_folds_is_a_leak() -> None:
    table = table_of([0.1] * 4).assign(group=["a", "b", "a", ""])
    (leak,) = verify_folds(folds_of(0, 0, 1, 1), table).leaks
    assert (leak.kind, leak.sets, leak.images, leak.examples) == ("groups", 1, 2, [["000", "002"]])
    assert verify_folds(folds_of(0, 1, 0, 1), table).leaks == []
    asked = pd.Series(["x", "x", "y", "y"], index=table["id"])
    assert [leak.sets for leak in verify_folds(folds_of(0, 1, 0, 1), table, asked).leaks] == [2]


def test_training_only_images_leak_into_a_fold_too() -> None:
    table = table_of([0.1] * 2).assign(group=["a", "a"])
    assert verify_folds(folds_of(0, -1), table).leaks[0].kind == "groups"


def test_duplicates_across_folds_are_told_by_kind() -> None:
    one, other, third = (draw_section(np.random.default_rng(seed), 40).image for seed in (0, 1, 2))
    near = np.clip(other + np.random.default_rng(0).normal(0, 2, other.shape), 0, 255).astype(np.uint8)
    black = np.zeros((40, 40), np.uint8)
    images = [one, one.copy(), other, near, black, black.copy(), third, third.copy()]
    prints = [Fingerprint.of(image) for image in images]
    table = table_of([0.1] * 8)
    leaks = verify_folds(folds_of(0, 1, 0, 1, 0, 1, 0, 0), table, None, prints).leaks
    assert [(leak.kind, leak.examples) for leak in leaks] == [
        ("constant images", [["004", "005"]]),
        ("exact duplicates", [["000", "001"]]),
        ("near-duplicates", [["002", "003"]]),
    ]
    assert verify_folds(folds_of(0, 0, 1, 1, 0, 0, 1, 1), table, None, prints).warnings() == []


@pytest.mark.parametrize("kind", ["stratified", "random"])
def test_proper_splits_are_even(kind: str) -> None:
    coverage = np.random.default_rng(0).beta(1, 3, 500)
    table = table_of(list(coverage))
    assert verify_folds(assign_folds(table, FoldsConfig(kind=kind)), table).warnings() == []


def test_a_fold_with_other_coverage_is_told() -> None:
    coverage = np.sort(np.random.default_rng(0).beta(1, 3, 100))
    report = verify_folds(folds_of(*[number // 20 for number in range(100)]), table_of(list(coverage)))
    assert any(line.startswith("fold 4: mean coverage") for line in report.warnings())


def test_unknown_coverage_gives_no_nan() -> None:
    report = verify_folds(folds_of(0, 1), table_of([float("nan"), 0.2]))
    assert report.shares[0].mean_coverage is None
    json.dumps(report.as_dict(), allow_nan=False)
