"""The run-length codec, against hand values, a pixel-by-pixel decoder, and text of every kind."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from saltern import rle
from saltern.rle import RleError

MASKS = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.integers(0, 1)
)
FORMS = st.fixed_dictionaries({"index_base": st.sampled_from([0, 1]), "relative": st.booleans()})
ORDERS = st.sampled_from(["column", "row"])


def slowly(text: str, size: tuple[int, int], order: str, index_base: int, relative: bool) -> np.ndarray:
    """A decoder that walks pixel by pixel, as the competitions' starter code does."""
    height, width = size
    mask = np.zeros(size, np.uint8)
    numbers = [int(word) for word in text.split()]
    at = 0
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        first = at + start if relative and at else start - index_base
        for pixel in range(first, first + length):
            row, column = (pixel % height, pixel // height) if order == "column" else divmod(pixel, width)
            mask[row, column] = 1
        at = first + length
    return mask


def test_hand_value_counts_down_the_columns_from_one() -> None:
    mask = np.array([[0, 1, 0], [1, 1, 0]], np.uint8)
    assert rle.encode(mask) == "2 3"
    assert rle.encode(mask, order="row") == "2 1 4 2"
    assert rle.encode(mask, order="row", index_base=0) == "1 1 3 2"
    assert rle.encode(mask, order="row", index_base=0, relative=True) == "1 1 1 2"


@given(MASKS, ORDERS, FORMS)
def test_decode_undoes_encode_and_agrees_with_a_slow_decoder(mask: np.ndarray, order: str, form: dict) -> None:
    text = rle.encode(mask, order=order, **form)
    np.testing.assert_array_equal(rle.decode(text, mask.shape, order=order, **form), mask)
    np.testing.assert_array_equal(slowly(text, mask.shape, order, **form), mask)
    assert rle.area(rle.parse_runs(text, **form)) == mask.sum()


@given(MASKS, st.data())
def test_overlap_counts_common_pixels(mask: np.ndarray, data: st.DataObject) -> None:
    other = data.draw(hnp.arrays(np.uint8, mask.shape, elements=st.integers(0, 1)))
    assert rle.overlap(rle.find_runs(mask), rle.find_runs(other)) == (mask & other).sum()


@given(st.text(alphabet="0123456789 -+.e_\n\tx\uff19", max_size=40), FORMS)
def test_any_text_gives_sound_runs_or_an_rle_error(text: str, form: dict) -> None:
    try:
        runs = rle.parse_runs(text, **form)
    except RleError:
        return
    assert runs.dtype == np.int64
    assert (runs[:, 0] >= 0).all()
    assert (runs[:, 1] > 0).all()
    assert (runs[1:, 0] >= runs[:-1].sum(axis=1)).all()
    small = len(runs) == 0 or runs[-1].sum() <= 10_000
    if small:
        assert rle.draw_runs(runs, (100, 100)).sum() == rle.area(runs)


@given(st.one_of(st.text(max_size=60), st.none(), st.floats(), st.integers(), st.binary()))
def test_any_content_of_a_table_cell_gives_a_mask_or_an_rle_error(content: object) -> None:
    with suppress(RleError):
        assert rle.decode(content, (3, 5)).shape == (3, 5)


def test_runs_that_touch_are_read_and_drawn() -> None:
    np.testing.assert_array_equal(rle.decode("1 2 3 1", (2, 2)), [[1, 1], [1, 0]])


@pytest.mark.parametrize("nothing", [None, float("nan"), np.float64("nan"), "", "  "])
def test_missing_and_empty_text_are_no_runs(nothing: object) -> None:
    assert rle.parse_runs(nothing).shape == (0, 2)
    assert rle.decode(nothing, (4, 3)).tolist() == np.zeros((4, 3)).tolist()


@pytest.mark.parametrize("mask", [np.zeros((4, 3)), np.zeros((0, 3), np.uint8), np.zeros((2, 2), bool)])
def test_empty_mask_is_empty_text(mask: np.ndarray) -> None:
    assert rle.encode(mask) == ""


@pytest.mark.parametrize(
    ("text", "form", "complaint"),
    [
        ("1 2 3", {}, "3 numbers, the last is 3: expected pairs"),
        ("1 2 a 4", {}, "number 3 is 'a': expected a plain whole number"),
        ("1 2 -4 4", {}, "number 3 is '-4'"),
        ("1.0 2", {}, r"number 1 is '1\.0'"),
        ("1_0 2", {}, "number 1 is '1_0'"),
        ("1 0", {}, "number 2 is 0, a length: expected at least 1"),
        ("0 1", {}, "number 1 is 0 and is a start: the first pixel has the number 1"),
        ("0 1", {"relative": True}, "number 1 is 0 and is a start"),
        ("5 3 7 1", {}, "number 3 is 7 and starts a run before the previous one ends, at 7"),
        ("5 3 2 1", {"index_base": 0}, "number 3 is 2 and starts a run before"),
        ("1 99999999999999999999", {}, "number 2 has 20 digits"),
        ("9999999999999 1", {}, "number 1 is 9999999999999, a start whose run ends past pixel"),
        (
            "1000000000000 1 1000000000000 1",
            {"relative": True},
            "number 3 is 1000000000000, a start whose run ends past",
        ),
        (7, {}, "7 is int: expected text"),
    ],
)
def test_an_error_says_which_number_and_what_was_expected(text: object, form: dict, complaint: str) -> None:
    with pytest.raises(RleError, match=complaint):
        rle.parse_runs(text, **form)


def test_a_run_outside_the_mask_is_refused_and_one_that_ends_on_the_last_pixel_is_not() -> None:
    assert rle.decode("10 3", (3, 4)).sum() == 3
    with pytest.raises(RleError, match=r"pixels 9 to 12 .*expected at most 11, the last pixel of a mask of 3 x 4"):
        rle.decode("10 4", (3, 4))


@pytest.mark.parametrize(
    "mask", [np.full((2, 2), 255, np.uint8), np.full((2, 2), 0.5), np.full((2, 2), -1), np.full((2, 2), np.nan)]
)
def test_a_mask_with_other_values_is_refused(mask: np.ndarray) -> None:
    with pytest.raises(RleError, match="expected only 0 and 1"):
        rle.encode(mask)


def test_a_mask_of_another_rank_is_refused() -> None:
    with pytest.raises(RleError, match=r"shape \(1, 2, 2\)"):
        rle.encode(np.zeros((1, 2, 2), np.uint8))


def test_the_tgs_form_of_a_real_row() -> None:
    mask = rle.decode("9191 1 9292 1 9393 1 9493 2", (101, 101))
    rows, columns = np.nonzero(mask)
    assert sorted(zip(columns.tolist(), rows.tolist(), strict=True)) == [
        (90, 100),
        (91, 100),
        (92, 100),
        (93, 99),
        (93, 100),
    ]
