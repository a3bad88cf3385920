"""Groups by column, by a part of the id, by looks; what cannot be meant is refused."""

import numpy as np
import pandas as pd
import pytest

from saltern.config import FoldsConfig
from saltern.data.folds.groups import adjacency_groups, column_groups, duplicate_groups, groups_of, regex_groups
from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import find_seams
from saltern.data.likeness.chains import chained
from saltern.data.likeness.duplicates import near_clusters
from saltern.data.likeness.fingerprints import Fingerprint
from saltern.data.likeness.mosaics import mosaics_of
from saltern.errors import ConfigError

IDS = ["car1_01", "car1_02", "car2_01", "car2_02"]


def table_of(**columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"id": IDS, "coverage": [0.0, 0.1, 0.2, 0.3], **columns})


def partition(groups: pd.Series) -> set[frozenset[str]]:
    return {frozenset(part.index) for _, part in groups.groupby(groups)}


CARS = {frozenset(IDS[:2]), frozenset(IDS[2:])}


def test_the_bracketed_part_of_the_pattern_names_the_group() -> None:
    assert partition(regex_groups(table_of(), "^(.+)_")) == CARS
    assert partition(regex_groups(table_of(), r"car\d")) == CARS
    assert partition(regex_groups(table_of(), "_(0[12])")) == {frozenset(IDS[::2]), frozenset(IDS[1::2])}


def test_images_without_a_value_are_groups_of_their_own() -> None:
    groups = column_groups(table_of(group=["a", "a", "", ""]), "group")
    assert partition(groups) == {frozenset(IDS[:2]), frozenset(IDS[2:3]), frozenset(IDS[3:])}
    groups = column_groups(table_of(depth=[7.0, float("nan"), float("nan"), 7.0]), "depth")
    assert partition(groups) == {frozenset([IDS[0], IDS[3]]), frozenset(IDS[1:2]), frozenset(IDS[2:3])}


def test_an_image_alone_is_not_in_a_group_that_is_called_like_it() -> None:
    """pandas drops a zero character before a column, so car1_02 would have come into the group of that name."""
    named = column_groups(table_of(group=["car1_02", "", "car1_02", ""]), "group")
    searched = regex_groups(pd.DataFrame({"id": ["b-1", "b", "b-2", "d"]}), "(?:(.+)-)?")
    assert partition(named) == {frozenset(IDS[::2]), frozenset(IDS[1:2]), frozenset(IDS[3:])}
    assert partition(searched) == {frozenset(["b-1", "b-2"]), frozenset("b"), frozenset("d")}


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("dog", "not found in 4 of 4 ids"),
        ("car1", "not found in 2 of 4"),
        ("(.+)", "groups nothing"),
        ("car", "into one"),
    ],
)
def test_a_pattern_that_matches_nothing_or_everything_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        regex_groups(table_of(), pattern)


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'depth'"):
        column_groups(table_of(depth=[1, 1, 2, 2]), "dept")
    with pytest.raises(ConfigError, match="unknown column 'id'"):
        column_groups(table_of(), "id")


def test_a_column_that_groups_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="groups nothing"):
        column_groups(table_of(), "coverage")
    with pytest.raises(ConfigError, match="groups nothing"):
        column_groups(table_of(group=[""] * 4), "group")


def test_twins_share_a_group_named_after_the_first_id() -> None:
    images = [draw_section(np.random.default_rng(seed), 32).image for seed in (0, 1, 0, 2)]
    groups = duplicate_groups(table_of(), near_clusters([Fingerprint.of(image) for image in images]))
    assert groups.tolist() == ["car1_01", "car1_02", "car1_01", "car2_02"]


def test_tiles_joined_through_a_test_tile_or_a_twin_share_a_group() -> None:
    side = 48
    large = draw_section(np.random.default_rng(3), 3 * side).image[:side]
    left, middle, right = (large[:, at : at + side] for at in (0, side, 2 * side))
    strangers = [draw_section(np.random.default_rng(seed), side).image for seed in range(20, 60)]
    tiles = [left, right, right.copy(), *strangers, middle]
    ids = [f"{number:03d}" for number in range(len(tiles))]
    prints = [Fingerprint.of(tile) for tile in tiles]
    seams = find_seams(prints)
    chains = chained(seams, 0.6, [True] * len(tiles), 10)
    groups, mosaics = adjacency_groups(ids, chains, near_clusters(prints)), mosaics_of(seams)
    assert groups[["000", "001", "002", ids[-1]]].tolist() == ["000"] * 4
    assert groups.value_counts().max() == 4
    assert mosaics.sizes()[3] == 1


def test_kinds_without_groups_have_none() -> None:
    assert groups_of(table_of(), FoldsConfig(kind="stratified")) is None
