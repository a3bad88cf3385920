from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saltern import rle
from saltern.config import TgsConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError

Write = Callable[[Path, np.ndarray], None]


def opened(root: Path) -> Dataset:
    return open_dataset(TgsConfig(root=str(root)))


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        opened(root)
    return str(caught.value)


def test_the_table_holds_what_the_files_hold(tgs_root: Path) -> None:
    dataset = opened(tgs_root)
    train = dataset.train
    assert train["id"].tolist() == ["a", "b", "c", "d"]
    assert train["depth"].fillna(-1).tolist() == [100, 101, 102, -1]
    assert set(train["height"]) == {20}
    assert set(train["width"]) == {24}
    assert train["mask"].map(lambda path: Path(path).name).tolist() == ["a.png", "b.png", "", ""]
    assert train["coverage"][1] == 0
    for row in train.itertuples():
        expected = rle.decode(row.rle, (20, 24))
        np.testing.assert_array_equal(dataset.read_mask(row), expected)
        assert row.coverage == pytest.approx(expected.mean())


def test_ids_stay_text_and_test_rows_follow_the_submission(tgs_root: Path) -> None:
    dataset = opened(tgs_root)
    assert dataset.submission_ids == ["0012", "0011"]
    assert dataset.test["id"].tolist() == ["0012", "0011"]
    assert dataset.test["coverage"].isna().all()
    assert not dataset.has_truth(dataset.test).any()
    assert dataset.has_truth(dataset.train).all()
    row = next(dataset.test.itertuples())
    grey = np.asarray(Image.open(row.image))
    np.testing.assert_array_equal(dataset.read_image(row), np.dstack([grey] * 3))
    with pytest.raises(DataError, match="no mask is known"):
        dataset.read_mask(row)


def test_csv_files_may_be_missing_where_masks_are_png(tgs_root: Path, png: Write) -> None:
    for name in ("train.csv", "depths.csv", "sample_submission.csv"):
        (tgs_root / name).unlink()
    for name in "cd":
        png(tgs_root / "train" / "masks" / f"{name}.png", np.zeros((20, 24), np.uint8))
    dataset = opened(tgs_root)
    assert dataset.submission_ids is None
    assert dataset.train["rle"].isna().all()
    assert dataset.train["depth"].isna().all()


def test_a_missing_folder_says_what_to_set(tmp_path: Path) -> None:
    text = refusal(tmp_path / "nowhere")
    assert "no such folder" in text
    assert "Set dataset.root=PATH" in text


def test_all_problems_are_told_together(tgs_root: Path, png: Write) -> None:
    masks, images = tgs_root / "train" / "masks", tgs_root / "train" / "images"
    png(masks / "a.png", np.zeros((10, 24), np.uint8))
    png(masks / "b.png", np.full((20, 24), 7, np.uint8))
    png(masks / "x.png", np.zeros((20, 24), np.uint8))
    png(images / "e.png", np.zeros((20, 24), np.uint8))
    (images / "d.png").write_bytes((images / "d.png").read_bytes()[:-20])
    with (tgs_root / "train.csv").open("a") as stream:
        stream.write("f,\nc,\n")
    (tgs_root / "sample_submission.csv").write_text("id,rle_mask\n0012,\n13,\n")
    text = refusal(tgs_root)
    for expected in (
        "a.png: 10 x 24 pixels (height x width); expected 20 x 24",
        "b.png: stray mask values 7 in 100.0% of the pixels",
        "the mask of 'x' has no image",
        "the image 'e' has no mask",
        "d.png: not readable as an image: it ends after",
        "the id 'f' has no image",
        "the id 'c' stands 2 times",
        "the id '13' has no test image",
        "no row for the test image '0011'",
    ):
        assert expected in text
    assert "9 problems found" in text


def test_run_lengths_that_leave_the_image_name_the_id(tgs_root: Path) -> None:
    (tgs_root / "train.csv").write_text("id,rle_mask\na,\nb,\nc,480 2\nd,5 x\n")
    text = refusal(tgs_root)
    assert "id 'c': run lengths do not fit an image of 20 x 24" in text
    assert "id 'd'" in text


def test_many_problems_of_a_kind_do_not_hide_another(tgs_root: Path) -> None:
    rows = "".join(f"lost{number},\n" for number in range(500))
    (tgs_root / "train.csv").write_text((tgs_root / "train.csv").read_text() + rows)
    (tgs_root / "depths.csv").write_text("id,z\na,deep\n")
    text = refusal(tgs_root)
    assert "494 more ids without an image (500 in all)" in text
    assert "the depth of 'a' is 'deep'" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"id,mask\na,\n", "no column rle_mask"),
        (b"id,rle_mask\na,1 1,9\n", "line 2 has 3 fields"),
        (b"id,rle_mask\n\xff\xfe,1\n", "not readable as CSV in UTF-8"),
        (b"id,id,rle_mask\na,b,\n", "'id' stands 2 times"),
        (b"id,rle_mask\n,\n", "1 rows without an id"),
        (b'id,rle_mask\na,"1 1\n', "not readable as CSV"),
    ],
)
def test_a_broken_table_is_named_with_its_fault(tgs_root: Path, content: bytes, expected: str) -> None:
    (tgs_root / "train.csv").write_bytes(content)
    text = refusal(tgs_root)
    assert "train.csv" in text
    assert expected in text


def test_a_test_folder_that_is_missing_is_told(tgs_root: Path) -> None:
    for path in (tgs_root / "test" / "images").iterdir():
        path.unlink()
    assert "no image in it" in refusal(tgs_root)
    (tgs_root / "test" / "images").rmdir()
    assert "no such folder" in refusal(tgs_root)


PIECES = st.sampled_from(
    ["a", "b", "0011", ",", "\n", "1 1", "480 1", "9" * 30, "-1", '"', "nan", "\0", "é", " ", "id", "\r"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([("train.csv", "id,rle_mask"), ("depths.csv", "id,z"), ("sample_submission.csv", "id,rle_mask")]),
    st.lists(PIECES).map("".join).map(str.encode) | st.binary(max_size=60),
)
def test_any_table_is_read_or_refused(tgs_root: Path, table: tuple[str, str], content: bytes) -> None:
    path = tgs_root / table[0]
    sound = path.read_bytes()
    path.write_bytes(table[1].encode() + b"\n" + content)
    refusal = str(tgs_root)
    try:
        opened(tgs_root)
    except DataError as error:
        refusal = str(error)
    finally:
        path.write_bytes(sound)
    assert str(tgs_root) in refusal
