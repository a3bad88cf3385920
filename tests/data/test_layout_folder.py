from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern import rle
from saltern.config import ConfigError, FolderConfig, SubmissionConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import united
from saltern.errors import DataError

RANDOM = np.random.default_rng(0)


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photograph(height: int, width: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (height, width, 3), np.uint8)


def blob(height: int, width: int) -> np.ndarray:
    return (RANDOM.random((height, width)) < 0.3).astype(np.uint8)


def config(root: Path, **changes: object) -> FolderConfig:
    return FolderConfig(**{"root": str(root)} | changes)


def refusal(settings: FolderConfig) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(settings)
    return str(caught.value)


def test_a_set_like_carvana(tmp_path: Path) -> None:
    """JPEG photographs, GIF masks with a suffix, ids with `.jpg`, several views of a car, a submission by name."""
    truth = {}
    for car in ("a1b2", "c3d4"):
        for view in ("01", "02"):
            truth[f"{car}_{view}.jpg"] = mask = blob(24, 36)
            save(tmp_path / "train" / f"{car}_{view}.jpg", photograph(24, 36))
            save(tmp_path / "train_masks" / f"{car}_{view}_mask.gif", mask * 255)
    save(tmp_path / "test" / "e5_01.jpg", photograph(24, 36))
    (tmp_path / "sample_submission.csv").write_text("img,rle_mask\ne5_01.jpg,\n")
    dataset = open_dataset(
        config(
            tmp_path,
            images="train/*",
            masks="train_masks/{stem}_mask.gif",
            test_images="test/*",
            id="name",
            group=r"(\w+)_\d+\.jpg",
            submission_csv="sample_submission.csv",
            rle_form=SubmissionConfig(id_column="img", order="row"),
        )
    )
    assert dataset.train["id"].tolist() == sorted(truth)
    assert dataset.train["group"].tolist() == ["a1b2", "a1b2", "c3d4", "c3d4"]
    assert dataset.test["id"].tolist() == dataset.submission_ids == ["e5_01.jpg"]
    for row in dataset.train.itertuples():
        np.testing.assert_array_equal(dataset.read_mask(row), truth[row.id])


def test_a_set_like_the_data_science_bowl(tmp_path: Path) -> None:
    """A folder an image, a mask an object (to be united), RGBA photographs of different sizes."""
    truth = {}
    for number, name in enumerate(("n1", "n2")):
        size = (20 + number, 30)
        folder = tmp_path / "stage1_train" / name
        save(folder / "images" / f"{name}.png", np.dstack([photograph(*size), np.full(size, 255, np.uint8)]))
        parts = [blob(*size) for _ in range(3)]
        for index, part in enumerate(parts):
            save(folder / "masks" / f"{index}f.png", part * 255)
        truth[name] = np.maximum.reduce(parts)
    pattern = {"images": "stage1_train/*/images/*.png", "masks": "stage1_train/{stem}/masks/*.png"}
    dataset = open_dataset(config(tmp_path, **pattern, instances=True))
    assert dataset.train["height"].tolist() == [20, 21]
    for row in dataset.train.itertuples():
        assert dataset.read_image(row).shape == (row.height, row.width, 3)
        np.testing.assert_array_equal(dataset.read_mask(row), truth[row.id])
        assert row.coverage == pytest.approx(truth[row.id].mean())
    assert "3 masks (0f.png, 1f.png, 2f.png); expected one, or dataset.instances=true" in refusal(
        config(tmp_path, **pattern)
    )


def test_a_set_like_siim(tmp_path: Path) -> None:
    """No mask files: a CSV with relative run lengths, -1 for none, several rows an image; 16-bit grey images."""
    parts = {"x.1": [blob(16, 16)], "x.2": [], "x.3": [blob(16, 16), blob(16, 16)]}
    rows = []
    for name, masks in parts.items():
        save(tmp_path / "png" / f"{name}.png", RANDOM.integers(0, 1 << 16, (16, 16), np.uint16))
        texts = [rle.encode(mask, relative=True, index_base=0) for mask in masks] or ["-1"]
        rows += [f"{name},{text}" for text in texts]
    (tmp_path / "train-rle.csv").write_text("ImageId,EncodedPixels\n" + "\n".join(rows) + "\n")
    form = SubmissionConfig(id_column="ImageId", mask_column="EncodedPixels", relative=True, empty="-1", index_base=0)
    settings = {"images": "png/*", "masks": None, "rle_csv": "train-rle.csv", "rle_form": form}
    dataset = open_dataset(config(tmp_path, **settings, instances=True))
    assert dataset.train["id"].tolist() == list(parts)
    for row in dataset.train.itertuples():
        expected = np.maximum.reduce([np.zeros((16, 16), np.uint8), *parts[row.id]])
        np.testing.assert_array_equal(dataset.read_mask(row), expected)
        grey = np.asarray(Image.open(row.image)) >> 8
        np.testing.assert_array_equal(dataset.read_image(row)[..., 0], grey)
    assert "the id 'x.3' stands 2 times" in refusal(config(tmp_path, **settings))
    (tmp_path / "train-rle.csv").write_text("ImageId,EncodedPixels\nx.1,\nx.2,\nx.9,\n")
    text = refusal(config(tmp_path, **settings, instances=True))
    assert "the id 'x.9' has no image; is dataset.id right" in text
    assert "no row for the image 'x.3'" in text


def test_images_and_masks_in_one_folder_are_told_apart_by_the_pattern(tmp_path: Path) -> None:
    mask = blob(8, 8)
    save(tmp_path / "7_sat.png", photograph(8, 8))
    save(tmp_path / "7_mask.png", np.dstack([mask * 255] * 3))
    dataset = open_dataset(config(tmp_path, images="{stem}_sat.png", masks="{stem}_mask.png"))
    assert dataset.train["id"].tolist() == ["7"]
    np.testing.assert_array_equal(dataset.read_mask(next(dataset.train.itertuples())), mask)


@pytest.mark.parametrize(
    ("pixels", "settings"),
    [
        (np.array([[0, 1]], np.uint8), {}),
        (np.array([[0, 255]], np.uint8), {}),
        (np.array([[0, 65535]], np.uint16), {}),
        (np.array([[False, True]]), {}),
        (np.array([[0, 37]], np.uint8), {"mask_foreground": [37]}),
        (np.array([[100, 180]], np.uint8), {"mask_threshold": 127}),
    ],
)
def test_masks_of_many_kinds_mean_the_same(tmp_path: Path, pixels: np.ndarray, settings: dict) -> None:
    save(tmp_path / "images" / "a.png", photograph(1, 2))
    save(tmp_path / "masks" / "a.png", pixels)
    dataset = open_dataset(config(tmp_path, **settings))
    assert dataset.read_mask(next(dataset.train.itertuples())).tolist() == [[0, 1]]


def test_void_by_config_stays_void(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", photograph(1, 3))
    save(tmp_path / "masks" / "a.png", np.array([[0, 1, 255]], np.uint8))
    assert "stray mask values 255 in 33.3%" in refusal(config(tmp_path))
    dataset = open_dataset(config(tmp_path, mask_void=[255]))
    assert dataset.read_mask(next(dataset.train.itertuples())).tolist() == [[0, 1, 255]]
    assert dataset.train["coverage"][0] == 0.5


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        save(tmp_path / "images" / f"{name}.png", photograph(4, 4))
    save(tmp_path / "images" / "a.jpg", photograph(4, 4))
    save(tmp_path / "masks" / "a.png", np.zeros((4, 5), np.uint8))
    save(tmp_path / "masks" / "b.png", np.full((4, 4), 9, np.uint8))
    save(tmp_path / "masks" / "z.png", np.zeros((4, 4), np.uint8))
    text = refusal(config(tmp_path, test_images="test/*"))
    for expected in (
        "has the id 'a'",
        "4 x 5 pixels (height x width); expected 4 x 4",
        "stray mask values 9",
        "no mask matches 'masks/c.*'",
        "no image matches the mask of 'z'",
        "no image matches 'test/*'",
    ):
        assert expected in text
    assert "6 problems" in text


def test_a_group_expression_must_find_and_divide(tmp_path: Path) -> None:
    for name in ("a_1", "a_2", "b_1"):
        save(tmp_path / "images" / f"{name}.png", photograph(4, 4))
        save(tmp_path / "masks" / f"{name}.png", blob(4, 4))
    assert open_dataset(config(tmp_path, group=r"([ab])_\d")).train["group"].tolist() == ["a", "a", "b"]
    text = refusal(config(tmp_path, group="_1"))
    assert "not found in 'images/a_2.png'" in text
    save(tmp_path / "masks" / "b_1.png", np.full((4, 4), 9, np.uint8))
    text = refusal(config(tmp_path, group="_"))
    assert "puts all 3 images into the group '_'" in text
    assert "stray mask values 9" in text
    assert "gives each of the 3 images a group of its own" in refusal(config(tmp_path, group=r"\w_\d"))


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'images/\*\*\.png' is no pattern"):
        open_dataset(config(tmp_path, images="images/**.png"))


def test_parts_unite_with_foreground_over_void_over_background() -> None:
    parts = [np.array([[0, 0, 0, 255, 255, 1]], np.uint8), np.array([[0, 1, 255, 255, 1, 1]], np.uint8)]
    assert united(parts).tolist() == [[0, 1, 255, 255, 1, 1]]
