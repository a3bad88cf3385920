from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern.config import ConfigError, VocConfig
from saltern.data.layouts.opening import open_dataset
from saltern.errors import DataError

VALUES = np.array([0, 7, 15, 255], np.uint8)
LISTS = {"train": ["2007_01", "2007_02"], "val": ["2008_1"], "test": ["2009_1"]}


def palette_png(path: Path, indices: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(indices, mode="P")
    image.putpalette([(37 * value) % 256 for value in range(768)])
    image.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four photographs of different sizes; the last has no mask."""
    base, random = tmp_path / "VOCdevkit" / "VOC2012", np.random.default_rng(0)
    (base / "ImageSets" / "Segmentation").mkdir(parents=True)
    (base / "JPEGImages").mkdir()
    for number, (split, names) in enumerate(LISTS.items()):
        (base / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            size = (20 + number, 31)
            Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(base / "JPEGImages" / f"{name}.jpg")
            if split != "test":
                palette_png(base / "SegmentationClass" / f"{name}.png", random.choice(VALUES, size))
    return tmp_path


def config(root: Path, **changes: object) -> VocConfig:
    return VocConfig(**{"root": str(root), "foreground": ["car"]} | changes)


def refusal(settings: VocConfig) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("foreground", "ids"), [(["car"], {7}), ([7], {7}), (["person", 7], {7, 15}), (["bicycle"], {2})]
)
def test_chosen_classes_are_foreground_and_void_stays_void(root: Path, foreground: list, ids: set[int]) -> None:
    dataset = open_dataset(config(root, foreground=foreground))
    assert dataset.train["split"].tolist() == ["train", "train", "val"]
    for row in dataset.train.itertuples():
        indices = np.asarray(Image.open(row.mask))
        expected = np.where(indices == 255, 255, np.isin(indices, list(ids)))
        np.testing.assert_array_equal(dataset.read_mask(row), expected)
        assert row.coverage == pytest.approx(expected[expected != 255].mean())


def test_lists_decide_who_is_in_and_sizes_may_differ(root: Path) -> None:
    dataset = open_dataset(config(root))
    assert dataset.train["id"].tolist() == ["2007_01", "2007_02", "2008_1"]
    assert dataset.train["height"].tolist() == [20, 20, 21]
    assert dataset.test["id"].tolist() == ["2009_1"]
    assert dataset.test["coverage"].isna().all()
    assert dataset.submission_ids is None
    on_val = open_dataset(config(root, test_list="val"))
    assert on_val.has_truth(on_val.test).all()


@pytest.mark.parametrize("place", ["", "VOCdevkit"])
def test_the_devkit_is_found_from_inside_too(root: Path, place: str) -> None:
    assert len(open_dataset(config(root / place)).train) == 3
    assert len(open_dataset(config(root / "VOCdevkit" / "VOC2012")).train) == 3
    assert "Set dataset.root" in refusal(config(root / "nowhere"))
    assert "no image lists" in refusal(config(root, year=2007))


def test_extra_lists_and_grey_masks_of_sbd_are_taken(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2012"
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(base / "JPEGImages" / "sbd.jpg")
    (base / "SegmentationClassAug").mkdir()
    Image.fromarray(np.full((5, 6), 7, np.uint8)).save(base / "SegmentationClassAug" / "sbd.png")
    listed = (
        "/JPEGImages/2007_01.jpg /SegmentationClassAug/2007_01.png\n/JPEGImages/sbd.jpg /SegmentationClassAug/sbd.png\n"
    )
    (base / "ImageSets" / "Segmentation" / "train_aug.txt").write_text(listed)
    settings = config(root, train_list="train_aug", masks=["SegmentationClassAug", "SegmentationClass"])
    train = open_dataset(settings).train
    assert train["id"].tolist() == ["2007_01", "2008_1", "sbd"]
    assert train["coverage"][2] == 1


def test_all_problems_are_told_together(root: Path) -> None:
    base = root / "VOCdevkit" / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("2007_01\n2007_02\n2007_02\ngone\n2008_1\n")
    (lists / "test.txt").write_text("\n")
    palette_png(base / "SegmentationClass" / "2007_01.png", np.full((20, 31), 21, np.uint8))
    (base / "SegmentationClass" / "2007_02.png").unlink()
    text = refusal(config(root))
    for expected in (
        "no image 'gone', which the train list names",
        "2007_01.png: stray mask values 21 in 100.0% of the pixels; expected class ids 0 to 20",
        "no mask for '2007_02'",
        "line 3 names '2007_02' again",
        "'2008_1' is in train.txt and in val.txt",
        "test.txt: names no image",
    ):
        assert expected in text
    for key in ("train_list", "test_list"):
        assert "no such list; lists there: test, train, val" in refusal(config(root, **{key: "train_aug"}))
    (lists / "val.txt").write_bytes(b"\xff\xfe\x00")
    assert "not readable as text" in refusal(config(root))


def test_a_colour_mask_is_refused_since_ids_are_gone(root: Path) -> None:
    path = root / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_01.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31, 3), np.uint8)).save(path)
    assert "a mask in colours" in refusal(config(root))


@pytest.mark.parametrize("wrong", ["lorry", 0, 21, True, ""])
def test_an_unknown_class_lists_the_twenty(root: Path, wrong: object) -> None:
    with pytest.raises(ConfigError, match=r"aeroplane, bicycle, .*tvmonitor"):
        open_dataset(config(root, foreground=[wrong]))
    with pytest.raises(ConfigError, match="expected at least one of aeroplane"):
        open_dataset(config(root, foreground=[]))
