"""The submission CSV against pandas, brute force on masks, and files damaged in every way."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.errors import DataError, RunError
from saltern.metrics.scores import count_pixels, summarise
from saltern.submission import table

TGS = SubmissionConfig()
SIIM = SubmissionConfig(id_column="ImageId", mask_column="EncodedPixels", index_base=0, empty="-1", relative=True)
CARVANA = SubmissionConfig(id_column="img", order="row")


def draw(n: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """Masks of different sizes by ids that look like numbers, floats and missing values."""
    rng = np.random.default_rng(seed)
    names = ["007", "1e5", "NA", "nan", "a,b", 'q"q', "true", "0x1F", " x", *(f"id{number}" for number in range(n))][:n]
    sizes = rng.integers(1, 9, (n, 2))
    return {
        name: (rng.random(size) < rng.choice([0, 0.4, 1])).astype(np.uint8)
        for name, size in zip(names, sizes.tolist(), strict=True)
    }


def sizes_of(masks: dict[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    return {name: mask.shape for name, mask in masks.items()}


@pytest.mark.parametrize("form", [TGS, SIIM, CARVANA])
def test_rows_come_in_the_order_of_the_ids_whatever_order_the_masks_arrive_in(
    tmp_path: Path, form: SubmissionConfig
) -> None:
    masks = draw()
    ids = sorted(masks)
    path = tmp_path / "submission.csv"
    proof = table.write_submission(path, reversed(masks.items()), ids, sizes_of(masks), form)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert list(frame.columns) == [form.id_column, form.mask_column]
    assert list(frame[form.id_column]) == ids
    for name, text in frame.itertuples(index=False):
        if text == form.empty:
            assert not masks[name].any()
        else:
            decoded = rle.decode(
                text, masks[name].shape, order=form.order, index_base=form.index_base, relative=form.relative
            )
            np.testing.assert_array_equal(decoded, masks[name])
    assert proof.rows == len(ids)
    assert proof.empty == sum(not mask.any() for mask in masks.values()) > 0
    assert proof.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["submission.csv"]


def test_the_bytes_of_a_tgs_submission(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    masks = [("b", np.array([[0, 1], [1, 1]], np.uint8)), ("a", np.zeros((2, 2), bool))]
    table.write_submission(path, masks, ["a", "b"], {"a": (2, 2), "b": (2, 2)}, TGS)
    assert path.read_bytes() == b"id,rle_mask\na,\nb,2 3\n"


def test_masks_are_streamed_not_held(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)

    def reused() -> Iterator[tuple[str, np.ndarray]]:
        for number in range(4):
            mask[:] = 0
            mask.flat[number] = 1
            yield str(number), mask

    table.write_submission(tmp_path / "s.csv", reused(), list("3210"), dict.fromkeys("3210", (4, 4)), TGS)
    assert (tmp_path / "s.csv").read_text() == "id,rle_mask\n3,13 1\n2,9 1\n1,5 1\n0,1 1\n"


def test_every_missing_unknown_repeated_and_unfit_mask_is_listed_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("old")
    good, void = np.ones((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    masks = [("a", good), ("a", good), ("z", good), ("v", void)]
    with pytest.raises(DataError) as caught:
        table.write_submission(path, masks, ["a", "b", "c", "c", "v"], dict.fromkeys("abcv", (2, 2)), TGS)
    text = str(caught.value)
    for part in ("'c' is asked for 2 times", "'a': a second mask", "'z': a mask, but no row", "'b': no mask",
                 "'c': no mask", "'v': mask holds values from 255"):  # fmt: skip
        assert part in text
    assert "'v': no mask" not in text
    assert path.read_text() == "old"


def test_a_mask_of_another_size_than_its_image_is_refused_though_it_could_be_read_back(tmp_path: Path) -> None:
    masks = {name: np.ones((10, 64), np.uint8) for name in "ab"}
    with pytest.raises(DataError, match=r"(?s)'a': mask of shape \(10, 64\): its image has 64 x 64.*'b'"):
        table.write_submission(tmp_path / "s.csv", masks.items(), list("ab"), dict.fromkeys("ab", (64, 64)), TGS)
    turned = np.zeros((2, 3), np.uint8)
    with pytest.raises(DataError, match="'a': mask of shape"):
        table.write_submission(tmp_path / "s.csv", [("a", turned)], ["a"], {"a": (3, 2)}, TGS)
    assert list(tmp_path.iterdir()) == []


def test_an_id_that_is_no_text_is_refused(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    with pytest.raises(DataError, match=r"'caf\\udce9' is no text in UTF-8"):
        table.write_submission(tmp_path / "s.csv", [(name, np.ones((1, 1)))], [name], {name: (1, 1)}, TGS)


def test_a_form_that_cannot_be_read_back_is_found_by_the_proof(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("old")
    form = SubmissionConfig(empty="1 1")
    corner = np.array([[1, 0], [0, 0]], np.uint8)
    with pytest.raises(RunError, match="'a': decoding '1 1' does not give back its mask"):
        table.write_submission(path, [("a", corner)], ["a"], {"a": (2, 2)}, form)
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text.replace("b,2 3", "b,2 2"), "'b': decoding"),
        (lambda text: text.replace("b,2 3", "b,2 9"), "expected at most 3, the last pixel"),
        (lambda text: "id,rle_mask\nb,2 3\na,\n", "order"),
        (lambda text: text[:-6], "ids differ"),
        (lambda text: text.replace("rle_mask", "mask"), "header"),
    ],
)
def test_a_file_damaged_on_its_way_to_disk_is_found_by_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object, complaint: str
) -> None:
    read = table.read_submission

    def damaged(path: Path, form: SubmissionConfig) -> dict:
        path.write_text(damage(path.read_text()))
        return read(path, form)

    monkeypatch.setattr(table, "read_submission", damaged)
    masks = [("b", np.array([[0, 1], [1, 1]], np.uint8)), ("a", np.zeros((2, 2), np.uint8))]
    with pytest.raises(RunError, match=complaint):
        table.write_submission(tmp_path / "s.csv", masks, ["a", "b"], {"a": (2, 2), "b": (2, 2)}, TGS)
    assert not list(tmp_path.iterdir())


def test_a_cell_longer_than_the_csv_modules_limit(tmp_path: Path) -> None:
    mask = (np.indices((300, 300)).sum(0) % 2).astype(np.uint8)
    table.write_submission(tmp_path / "s.csv", [("a", mask)], ["a"], {"a": (300, 300)}, TGS)
    assert (tmp_path / "s.csv").stat().st_size > 200_000
    assert rle.area(table.read_submission(tmp_path / "s.csv", TGS)["a"]) == mask.sum()


def test_reading_keeps_ids_as_text_and_passes_over_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(b"\xef\xbb\xbfid,rle_mask\r\n007,1 2\r\n\r\nNA,\r\n")
    found = table.read_submission(path, TGS)
    assert {name: runs.tolist() for name, runs in found.items()} == {"007": [[0, 2]], "NA": []}


@pytest.mark.parametrize(
    ("content", "form", "complaints"),
    [
        ("", TGS, ["the header is ''; expected 'id,rle_mask'"]),
        ("id,mask\n", TGS, ["the header is 'id,mask'"]),
        ("id,rle_mask\na\nb,1 1,x\n", TGS, ["line 2: 1 cells", "line 3: 3 cells"]),
        ("id,rle_mask\n,1 1\na,\na,\n", TGS, ["line 2: no id", "line 4: id 'a' is there twice"]),
        ("id,rle_mask\na,1\nb,3 1 2 1\n", TGS, ["line 2: id 'a': 1 numbers", "line 3: id 'b': number 3 is 2"]),
        ("id,rle_mask\na,nan\n", TGS, ["number 1 is 'nan'"]),
        ('id,rle_mask\na,"1 1\n5 2"\n', TGS, ["line 3: id 'a': number 2 is '1\\n5'"]),
        ("ImageId,EncodedPixels\na,\nb,-1\n", SIIM, ["line 2: id 'a': blank; an empty mask is written as '-1'"]),
        ('id,rle_mask\na,"1 1\n', TGS, ["is no CSV in UTF-8"]),
        (b"id,rle_mask\n\xff,1 1\n", TGS, ["is no CSV in UTF-8"]),
    ],
)
def test_everything_malformed_is_listed(
    tmp_path: Path, content: str | bytes, form: SubmissionConfig, complaints: list[str]
) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        table.read_submission(path, form)
    assert str(path) in str(caught.value)
    for complaint in complaints:
        assert complaint in str(caught.value)


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            table.read_submission(path, TGS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.text(alphabet='id,rle_mask\n\r"0123456789 -\x00', max_size=80).map(str.encode),
        st.text(alphabet='ab,\n\r"0123456789 -\x00\u2028', max_size=80).map(
            lambda text: f"id,rle_mask\n{text}".encode()
        ),
    )
)
def test_any_bytes_are_read_or_refused_as_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with suppress(DataError):
        assert all(runs.shape[1] == 2 for runs in table.read_submission(path, TGS).values())


@pytest.mark.parametrize("form", [TGS, SIIM, CARVANA])
def test_scores_of_two_files_equal_those_of_the_masks(tmp_path: Path, form: SubmissionConfig) -> None:
    rng = np.random.default_rng(1)
    truth = {f"{n}": (rng.random((6, 5)) < rng.choice([0, 0.5])).astype(np.uint8) for n in range(40)}
    masks = {
        name: (mask ^ (rng.random(mask.shape) < rng.choice([0, 0.2]))).astype(np.uint8) for name, mask in truth.items()
    }
    table.write_submission(tmp_path / "s.csv", masks.items(), list(masks), sizes_of(masks), form)
    part = list(truth)[5:][::-1]
    table.write_submission(tmp_path / "t.csv", ((name, truth[name]) for name in part), part, sizes_of(truth), form)
    found = table.count_submission(tmp_path / "s.csv", tmp_path / "t.csv", sizes_of(truth), form)
    expected = np.array([count_pixels(masks[name], truth[name]) for name in part])
    assert found.ids == tuple(part)
    assert found.extra == 5
    np.testing.assert_array_equal(found.counts, expected)
    assert 0 < summarise(found.counts)["precision_tgs"] < 1


def test_a_submission_must_hold_every_id_of_the_truth(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,rle_mask\na,\n")
    (tmp_path / "t.csv").write_text("id,rle_mask\na,\nb,\nc,1 1\n")
    with pytest.raises(DataError, match=r"(?s)2 problems.*'b' of .*t\.csv is missing.*'c' of"):
        table.count_submission(tmp_path / "s.csv", tmp_path / "t.csv", {}, TGS)
    (tmp_path / "t.csv").write_text("id,rle_mask\n")
    with pytest.raises(DataError, match="no rows"):
        table.count_submission(tmp_path / "s.csv", tmp_path / "t.csv", {}, TGS)


def test_runs_past_an_images_end_are_refused_where_its_size_is_known(tmp_path: Path) -> None:
    good, far = tmp_path / "good.csv", tmp_path / "far.csv"
    good.write_text("id,rle_mask\na,3 2\nb,\n")
    far.write_text("id,rle_mask\na,3 3\nb,\nz,9 9\n")
    known = {"a": (2, 2), "z": (3, 3)}
    with pytest.raises(DataError, match=r"far\.csv: 2 problems(?s:.*)'a': the last run covers pixels 2 to 4(?s:.*)'z'"):
        table.count_submission(far, good, known, TGS)
    with pytest.raises(DataError, match=r"far\.csv: 2 problems"):
        table.count_submission(far, far, known, TGS)
    assert table.count_submission(good, good, known, TGS).counts.tolist() == [[2, 0, 0], [0, 0, 0]]
    assert table.count_submission(far, good, {}, TGS).counts.tolist() == [[2, 1, 0], [0, 0, 0]]
