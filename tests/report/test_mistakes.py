"""Kinds of error, the disagreement of members and the maps of the page, against hand values and brute force."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from saltern.inference.decide import Decision, decide
from saltern.report.mistakes import band, kind_of
from saltern.report.pictures import Sample
from saltern.report.survey import disagreement
from saltern.report.tiles import Tile, TileWriter, levels_of, packed, script_json, tile


def square(*corners: int, size: int = 40) -> np.ndarray:
    """A square of ones from (top, left) to below (bottom, right)."""
    top, left, bottom, right = corners
    mask = np.zeros((size, size), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


TRUTH = square(10, 10, 30, 30)
EMPTY = square(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("mask", "target", "kind"),
    [
        (TRUTH, TRUTH, "right"),
        (EMPTY, EMPTY, "right"),
        (square(0, 0, 1, 1), EMPTY, "false alarm"),
        (EMPTY, TRUTH, "missed"),
        (square(31, 31, 35, 35), TRUTH, "missed"),
        (square(9, 10, 30, 30), TRUTH, "boundary"),  # one row too many, just outside the border
        (square(15, 10, 30, 30), TRUTH, "region"),  # five rows are missing, one of them in the band of one pixel
        (
            square(12, 10, 30, 30),
            TRUTH,
            "boundary",
        ),  # two rows are missing, one of them in the band
    ],
)
def test_each_kind_by_hand(mask: np.ndarray, target: np.ndarray, kind: str) -> None:
    assert kind_of(mask, target) == kind


def test_void_pixels_are_never_wrong() -> None:
    target = EMPTY.copy()
    target[:5] = 255
    assert kind_of(square(0, 0, 5, 40), target) == "right"
    assert kind_of(square(0, 0, 6, 40), target) == "false alarm"


def test_the_band_is_what_brute_force_finds_and_the_image_edge_is_no_border() -> None:
    truth = np.random.default_rng(0).random((30, 70)) > 0.97
    truth[:, :20] = True
    steps = round(0.02 * np.hypot(30, 70))
    assert steps == 2
    expected = np.zeros_like(truth)
    for row in range(30):
        for column in range(70):
            around = truth[max(0, row - steps) : row + steps + 1, max(0, column - steps) : column + steps + 1]
            expected[row, column] = around.min() != around.max()
    assert (band(truth) == expected).all()
    assert not band(np.ones((30, 30), bool)).any()


def test_two_members_disagree_by_one_less_their_iou() -> None:
    first, second = square(0, 0, 4, 4).astype(bool), square(0, 2, 4, 6).astype(bool)
    assert disagreement([first, second]) == pytest.approx(1 - 8 / 24)
    assert disagreement([first, second, first]) == pytest.approx(1 - 8 / 24)
    assert disagreement([EMPTY == 1, EMPTY == 1]) == 0
    assert disagreement([first, EMPTY == 1]) == 1


def test_a_map_gives_the_mask_of_every_level_exactly() -> None:
    rng = np.random.default_rng(1)
    target = rng.choice([0, 1, 255], (9, 11)).astype(np.uint8)
    probs = rng.choice([0.3, 0.31, 0.5, 0.52, 1.0, 0.0], (9, 11)).astype(np.float16)
    levels = levels_of(0.3, 0.123)
    sample = Sample(np.zeros((9, 11, 3), np.uint8), target, probs)
    exceeded, truth = np.frombuffer(zlib.decompress(packed(sample, levels, 1)), np.uint8).reshape(2, 9, 11)
    assert len(levels) == 100
    for place, level in enumerate(levels):
        assert ((exceeded > place) == decide(probs, Decision(float(level)))).all()
    assert (truth == np.where(target == 255, 2, target)).all()


def test_a_large_image_is_shrunk_with_its_map() -> None:
    sample = Sample(np.zeros((300, 601, 3), np.uint8), np.zeros((300, 601), np.uint8), np.zeros((300, 601), np.float16))
    made = tile(sample, levels_of())
    assert (made.width, made.height, made.step) == (201, 100, 3)


def test_more_levels_than_fit_a_byte_keep_that_of_the_decision() -> None:
    levels = levels_of(0.4321, *np.linspace(0.001, 0.9, 700))
    assert len(levels) <= 200
    assert np.float32(0.4321) in levels


def test_heavy_tiles_move_to_side_files_and_back(tmp_path: Path) -> None:
    folder = tmp_path / "report_tiles"
    made = Tile("p" * 100, "m" * 100, 1, 1, 1)
    with TileWriter(folder, "key", heavy=20_000) as writer:
        for _ in range(200):
            writer.add(made)
    assert writer.chunks == []
    assert [path.name for path in writer.files] == ["0.js", "1.js", "2.js", "3.js"]
    assert sorted(folder.iterdir()) == sorted(writer.files)
    assert sum(path.read_text().count("ppp" * 33) for path in writer.files) == 200
    with TileWriter(folder, "key") as light:
        light.add(made)
    assert light.files == []
    assert len(light.chunks) == 1
    assert not folder.exists()


def test_json_cannot_leave_its_script() -> None:
    assert "<" not in script_json({"id": "</script><b>"})
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json(float("nan"))
