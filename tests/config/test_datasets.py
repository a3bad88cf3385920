"""What a data set's settings may be, answered before any file is opened."""

import pytest

from saltern.config import ConfigError, FolderConfig, VocConfig, compose_config

FOLDER = ["dataset=folder", "dataset.root=x"]
VOC = ["dataset=voc", "dataset.root=x"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([*VOC, "dataset.foreground=[bicicle]"], "unknown class 'bicicle'. Did you mean 'bicycle'"),
        ([*VOC, "dataset.foreground=[]"], "expected at least one of aeroplane, bicycle"),
        ([*VOC, "dataset.foreground=[21]"], "Ids are 1 to 20"),
        ([*VOC, "dataset.foreground=[car]", "dataset.masks=[]"], "at least one folder name"),
        ([*FOLDER, "dataset.masks=masks/*"], "a pattern with {stem} in it"),
        ([*FOLDER, "dataset.rle_csv=train.csv"], "or null where dataset.rle_csv names a CSV"),
        ([*FOLDER, "dataset.masks=null"], "or null where dataset.rle_csv names a CSV"),
        ([*FOLDER, "dataset.images=../*"], "a path below dataset.root"),
        ([*FOLDER, "dataset.images=/etc/*"], "a path below dataset.root"),
        ([*FOLDER, "dataset.group='(a'"], "no regular expression"),
        ([*FOLDER, "dataset.id=number"], "dataset.id"),
        ([*FOLDER, "dataset.rle_form.order=diagonal"], "dataset.rle_form.order"),
        ([*FOLDER, "dataset.mask_threshold=9", "dataset.mask_foreground=[1]"], "null where dataset.mask_foreground"),
        (["dataset.cache=disk"], "dataset.cache"),
        (["dataset.overlap=1"], "0 to below 1"),
        (["dataset.cache_mb=-1"], "dataset.cache_mb=-1"),
        (["dataset.resize=[64,64]", "dataset.long_side=9"], "null where dataset.resize is set"),
        (["dataset.side=1"], "dataset.side=1: expected at least 2"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(overrides: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config("run", overrides)
    assert expected in str(caught.value)


def test_classes_are_taken_by_name_and_by_id_in_their_order() -> None:
    assert VocConfig(root="x", foreground=["person", 7, "aeroplane"]).class_ids() == [15, 7, 1]


def test_patterns_of_other_competitions_compose() -> None:
    config = compose_config(
        "run", [*FOLDER, "dataset.masks=null", "dataset.rle_csv=t.csv", "dataset.rle_form.empty='-1'"]
    ).dataset
    assert isinstance(config, FolderConfig)
    assert config.rle_form.empty == "-1"
