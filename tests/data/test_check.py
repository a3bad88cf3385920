"""Every defect put into a sound data set is reported under its name, and a sound one raises no warning."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern import rle
from saltern.config import FolderConfig, SampleConfig, TgsConfig
from saltern.data.check.examine import DatasetReport, check_dataset
from saltern.data.check.findings import ERROR, INFO, WARNING, Finding
from saltern.data.folds.groups import fingerprints_of
from saltern.data.layouts.opening import open_dataset
from saltern.errors import DataError
from saltern.progress import Progress

COUNT, SIDE = 40, 48


@pytest.fixture
def root(tmp_path: Path) -> Path:
    open_dataset(SampleConfig(root=str(tmp_path / "drawn"), train=COUNT, test=8, side=SIDE, seed=5))
    return tmp_path / "drawn"


def check(root: Path) -> DatasetReport:
    return check_dataset(TgsConfig(root=str(root)))[0]


def found(report: DatasetReport, kind: str) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    return finding


def ids(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "train" / "images").iterdir())


def image_of(root: Path, name: str) -> Path:
    return root / "train" / "images" / f"{name}.png"


def mask_of(root: Path, name: str) -> Path:
    return root / "train" / "masks" / f"{name}.png"


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def set_rle(root: Path, name: str, text: str) -> None:
    lines = (root / "train.csv").read_text().splitlines()
    (root / "train.csv").write_text("\n".join(f"{name},{text}" if line.startswith(name) else line for line in lines))


def put(root: Path, name: str, mask: np.ndarray) -> None:
    save(mask_of(root, name), mask.astype(np.uint16) * 65535)
    set_rle(root, name, rle.encode(mask))


def test_a_sound_set_has_counts_and_no_errors(root: Path) -> None:
    report = check(root)
    assert not report.has_errors
    assert {finding.kind for finding in report.findings if finding.severity == WARNING} <= {"tiny masks", "full masks"}
    assert report.counts == {"labelled": COUNT, "test": 8}
    assert report.sizes == {"labelled": {f"{SIDE} x {SIDE}": COUNT}, "test": {f"{SIDE} x {SIDE}": 8}}
    assert report.modes == {"RGB": COUNT + 8}
    assert sum(count for _, count in report.coverage) == COUNT
    deep = found(report, "16-bit masks")
    assert (deep.severity, deep.count) == (INFO, COUNT)
    assert found(report, "mask and run lengths").severity == INFO
    assert json.loads(json.dumps(report.as_dict(), allow_nan=False))["counts"]["test"] == 8


def test_coverage_classes_agree_with_the_table(root: Path) -> None:
    dataset = open_dataset(TgsConfig(root=str(root)))
    classes = dict(check(root).coverage)
    assert classes["empty"] == int((dataset.train["coverage"] == 0).sum()) > 0
    assert classes["10% to 20%"] == int(dataset.train["coverage"].between(0.1, 0.2, inclusive="left").sum())


def test_progress_counts_every_image(root: Path) -> None:
    class Told(Progress):
        def __init__(self) -> None:
            self.done: dict[str, int] = {}

        def begin(self, label: str, total: int) -> None:
            self.label = label

        def advance(self, amount: int, **values: float) -> None:
            self.done[self.label] = self.done.get(self.label, 0) + amount

    told = Told()
    check_dataset(TgsConfig(root=str(root)), told)
    assert told.done == {"check images": COUNT + 8, "compare images": COUNT + 8, "compare borders": 4 * (COUNT + 8)}


def test_masks_of_every_strange_kind_are_named(root: Path) -> None:
    names = ids(root)
    full, tiny, black = np.ones((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8), names[2]
    tiny[5, 5:9] = 1
    put(root, names[0], full)
    put(root, names[1], tiny)
    save(image_of(root, black), np.zeros((SIDE, SIDE, 3), np.uint8))
    put(root, black, full)
    report = check(root)
    assert {names[0], black} <= set(found(report, "full masks").suspects)
    assert names[1] in found(report, "tiny masks").suspects
    assert found(report, "constant images").suspects == [black]
    assert found(report, "constant images with foreground").suspects == [black]
    assert not report.has_errors


def test_duplicates_within_train_with_other_masks_and_in_test_are_named(root: Path) -> None:
    first, second, third, fourth = ids(root)[:4]
    image_of(root, second).write_bytes(image_of(root, first).read_bytes())
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:20] = 1
    put(root, first, mask)
    put(root, second, 1 - mask)
    test = sorted((root / "test" / "images").iterdir())[0]
    test.write_bytes(image_of(root, third).read_bytes())
    pixels = np.asarray(Image.open(image_of(root, third))).astype(int)
    save(image_of(root, fourth), np.clip(pixels + np.random.default_rng(0).integers(-3, 4), 0, 255).astype(np.uint8))
    noisy = np.clip(pixels + np.random.default_rng(0).integers(-2, 3, pixels.shape), 0, 255).astype(np.uint8)
    save(image_of(root, fourth), noisy)
    report = check(root)
    assert set(found(report, "exact duplicates").suspects) == {first, second, third, test.stem}
    assert set(found(report, "near-duplicates").suspects) == {third, fourth, test.stem}
    assert [set(part) for part in found(report, "exact duplicates").sets] == [{first, second}, {third, test.stem}]
    assert set(found(report, "duplicates with different masks").suspects) == {first, second}
    assert set(found(report, "test images among the labelled").suspects) == {third, test.stem}


def test_run_lengths_that_disagree_are_errors_and_tell_the_order(root: Path) -> None:
    dataset = open_dataset(TgsConfig(root=str(root)))
    row = next(row for row in dataset.train.itertuples() if 0.1 < row.coverage < 0.9)
    set_rle(root, row.id, rle.encode(dataset.read_mask(row), order="row"))
    report = check(root)
    finding = found(report, "mask and run lengths")
    assert (finding.severity, finding.suspects) == (ERROR, [row.id])
    assert "counted by row" in finding.text
    assert report.has_errors
    set_rle(root, row.id, "1 99999999")
    assert found(check(root), "mask and run lengths").suspects == [row.id]


def test_transposed_masks_are_told(root: Path) -> None:
    for name in ids(root):
        mask = (np.asarray(Image.open(mask_of(root, name))) > 0).astype(np.uint8)
        put(root, name, np.ascontiguousarray(mask.T))
    assert "transposed" in found(check(root), "truth of the whole set").text


def test_test_images_of_another_size_and_type_are_told(root: Path) -> None:
    path = sorted((root / "test" / "images").iterdir())[0]
    save(path, np.random.default_rng(0).integers(0, 255, (SIDE + 8, SIDE), np.uint8))
    report = check(root)
    assert found(report, "test sizes").suspects == [path.stem]
    assert found(report, "test pixel types").suspects == [path.stem]


def test_depths_without_images_and_images_without_depths_are_told(root: Path) -> None:
    lines = (root / "depths.csv").read_text().splitlines()
    gone = lines.pop(3).split(",")[0]
    (root / "depths.csv").write_text("\n".join([*lines, "stranger,5"]))
    report = check(root)
    assert "1 of 48 rows have no image, such as 'stranger'" in found(report, "rows without an image").text
    assert found(report, "images without a row").suspects == [gone]


def test_a_set_that_cannot_be_opened_gives_all_its_problems_as_errors(root: Path) -> None:
    first, second = ids(root)[:2]
    image_of(root, first).unlink()
    mask_of(root, second).write_bytes(b"no image")
    report, dataset = check_dataset(TgsConfig(root=str(root)))
    assert dataset is None
    assert report.has_errors
    text = "\n".join(finding.text for finding in report.findings)
    assert first in text
    assert str(mask_of(root, second)) in text
    assert len(report.findings) >= 2


def test_a_missing_folder_is_one_error(tmp_path: Path) -> None:
    report = check(tmp_path / "nowhere")
    assert [finding.severity for finding in report.findings] == [ERROR]
    assert "no such folder" in report.findings[0].text


def folder_set(root: Path, sizes: dict[str, tuple[int, int]], parts: int = 1, suffix: str = "jpg") -> FolderConfig:
    """Images of noise and `parts` masks for each; those named test… have no mask."""
    random = np.random.default_rng(0)
    for folder in ("images", "test", "masks"):
        (root / folder).mkdir(parents=True)
    for name, size in sizes.items():
        place = root / ("test" if name.startswith("test") else "images")
        save(place / f"{name}.{suffix}", random.integers(0, 256, (*size, 3), np.uint8))
        for part in range(parts if place.name == "images" else 0):
            mask = np.zeros(size, np.uint8)
            mask[part::parts, :5] = 255
            (root / "masks" / name).mkdir(exist_ok=True)
            save(root / "masks" / name / f"{part}.png", mask)
    return FolderConfig(root=str(root), masks="masks/{stem}/*", test_images="test/*", instances=parts > 1)


def test_masks_in_several_parts_are_united(tmp_path: Path) -> None:
    config = folder_set(tmp_path, {f"n{number}": (30, 30) for number in range(4)} | {"test": (30, 30)}, parts=3)
    report, dataset = check_dataset(config)
    assert dataset is not None
    assert not report.has_errors
    assert report.mask_kinds == {"png, L": 4}
    assert report.mask_values == {"0": 4, "255": 4}
    assert dict(report.coverage)["10% to 20%"] == 4


def test_every_image_that_cannot_be_decoded_is_named_and_the_others_are_examined(tmp_path: Path) -> None:
    """The headers of cut JPEGs are sound, so that the set opens."""
    config = folder_set(tmp_path, {f"n{number}": (30, 30) for number in range(5)} | {"test": (30, 30)})
    for name in ("n1", "n3"):
        path = tmp_path / "images" / f"{name}.jpg"
        path.write_bytes(path.read_bytes()[:700])
    report, dataset = check_dataset(config)
    assert dataset is not None
    lines = [finding.text for finding in report.findings if finding.kind == "unreadable files"]
    assert [name for name in ("n1", "n3") if any(f"{name}.jpg" in line for line in lines)] == ["n1", "n3"]
    assert report.has_errors
    assert sum(count for _, count in report.coverage) == 3
    with pytest.raises(DataError, match=r"(?s)n1\.jpg.*n3\.jpg"):
        fingerprints_of(dataset, dataset.train)


def test_test_images_outside_the_range_of_many_sizes_are_told(tmp_path: Path) -> None:
    sizes = {f"n{number}": (30 + number, 40 + number) for number in range(5)}
    config = folder_set(tmp_path, sizes | {"test_like": (32, 41), "test_small": (12, 41)})
    finding = found(check_dataset(config)[0], "test sizes")
    assert finding.suspects == ["test_small"]
    assert "30 to 34 high, 40 to 44 wide" in finding.text


def test_tables_are_read_by_the_sets_own_id_column(tmp_path: Path) -> None:
    config = folder_set(tmp_path, {f"n{number}": (30, 30) for number in range(4)} | {"test": (30, 30)})
    (tmp_path / "meta.csv").write_text("img,z\nn0,1\nn1,1\nn2,1\nn3,1\ntest,1\nstranger,1\n")
    assert "not looked at" in found(check_dataset(config)[0], "other tables").text
    config.rle_form.id_column = "img"
    assert "such as 'stranger'" in found(check_dataset(config)[0], "rows without an image").text


def test_a_very_thin_image_is_examined(tmp_path: Path) -> None:
    config = folder_set(tmp_path, {"n0": (1, 2000), "n1": (1, 2000), "test": (1, 2000)}, suffix="png")
    assert not check_dataset(config)[0].has_errors
