from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern.errors import DataError, RunError
from saltern.submission import voc
from saltern.submission.voc import voc_palette, write_voc_results

RANDOM = np.random.default_rng(0)
MASKS = {
    "a": (RANDOM.random((5, 7)) < 0.4).astype(np.uint8),
    "b": np.zeros((6, 4), np.uint8),
    "c": np.ones((3, 3), bool),
}
SIZES = {name: mask.shape for name, mask in MASKS.items()}


def test_the_palette_is_vocs() -> None:
    published = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 7: (128, 128, 128), 15: (192, 128, 128)}
    published |= {20: (0, 64, 128), 255: (224, 224, 192)}
    palette = voc_palette()
    assert {index: tuple(palette[index]) for index in published} == published


@pytest.mark.parametrize("class_id", [1, 7, 20])
def test_files_hold_the_class_id_in_vocs_palette(tmp_path: Path, class_id: int) -> None:
    folder = tmp_path / "comp6_test_cls"
    proof = write_voc_results(folder, MASKS.items(), ["c", "a", "b"], SIZES, class_id)
    assert (proof.files, proof.empty) == (3, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png"]
    for name, mask in MASKS.items():
        image = Image.open(folder / f"{name}.png")
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), mask * np.uint8(class_id))
        colours = np.asarray(image.convert("RGB"))
        assert (colours[mask == 1] == voc_palette()[class_id]).all()
    assert [path.name for path in tmp_path.iterdir()] == ["comp6_test_cls"]


def test_all_wrong_ids_and_masks_are_told_and_the_old_folder_stays(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    write_voc_results(folder, MASKS.items(), list(MASKS), SIZES, 7)
    before = (folder / "a.png").read_bytes()
    wrong = [("a", MASKS["b"]), ("a", MASKS["b"]), ("x", MASKS["b"]), ("b", np.full((2, 2), 255))]
    with pytest.raises(DataError) as caught:
        write_voc_results(folder, wrong, ["a", "b", "c"], SIZES, 7)
    for expected in ("'a': a second mask", "'x': is not asked for", "'b': shape (2, 2), values [255]; expected (6, 4)",
                     "'c': no mask"):  # fmt: skip
        assert expected in str(caught.value)
    assert (folder / "a.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_mask_of_another_size_than_its_image_and_an_id_asked_for_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'a': shape \(5, 7\).*expected \(7, 5\), the size of its image"):
        write_voc_results(tmp_path / "results", MASKS.items(), list(MASKS), {**SIZES, "a": (7, 5)}, 7)
    with pytest.raises(DataError, match="'b': is asked for 2 times"):
        write_voc_results(tmp_path / "results", MASKS.items(), ["a", "b", "c", "b"], SIZES, 7)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_comes_back_different_fails_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))
    monkeypatch.setattr(voc, "_digest", lambda _: bytes([next(calls)]))
    with pytest.raises(RunError, match="not the mask that was written"):
        write_voc_results(tmp_path / "results", MASKS.items(), list(MASKS), SIZES, 7)
    assert list(tmp_path.iterdir()) == []
