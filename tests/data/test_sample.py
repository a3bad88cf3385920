import csv
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern import rle
from saltern.config import SampleConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.layouts.sample import draw_sample
from saltern.data.layouts.section import draw_section
from saltern.errors import DataError


def digest(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def config(root: Path, **changes: int) -> SampleConfig:
    return SampleConfig(root=str(root), **{"train": 12, "test": 5, "side": 32} | changes)


def test_the_same_settings_draw_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = digest(draw_sample(config(tmp_path / "a")))
    assert first == digest(draw_sample(config(tmp_path / "b")))
    assert len(first) == 12 * 2 + 5 + 5
    other = digest(draw_sample(config(tmp_path / "c", seed=1)))
    assert not {name for name in first if "images" in name} & set(other)


def test_it_is_drawn_once_and_again_only_for_other_settings(tmp_path: Path) -> None:
    root = draw_sample(config(tmp_path / "sample"))
    before = (root / "train.csv").stat().st_ino
    draw_sample(config(root))
    assert (root / "train.csv").stat().st_ino == before
    draw_sample(config(root, side=40))
    assert Image.open(next((root / "train" / "images").iterdir())).size == (40, 40)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_the_sample_opens_as_a_tgs_data_set_with_the_truth_beside_it(tmp_path: Path) -> None:
    dataset = open_dataset(config(tmp_path / "sample"))
    assert (len(dataset.train), len(dataset.test)) == (12, 5)
    assert dataset.test["id"].tolist() == dataset.submission_ids
    with (dataset.root / "test_truth.csv").open(newline="") as stream:
        truth = list(csv.DictReader(stream))
    assert [row["id"] for row in truth] == dataset.submission_ids
    for row in dataset.train.itertuples():
        pixels = np.asarray(Image.open(row.mask))
        assert pixels.dtype == np.uint16
        assert set(np.unique(pixels)) <= {0, 65535}
        np.testing.assert_array_equal(dataset.read_mask(row), pixels > 0)
        np.testing.assert_array_equal(rle.decode(row.rle, (32, 32)), pixels > 0)


def test_a_folder_that_is_no_drawn_sample_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match=r"no sample\.json"):
        draw_sample(config(tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_interrupted_drawing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("saltern.data.layouts.sample._write_csv", fails)
    with pytest.raises(KeyboardInterrupt):
        draw_sample(config(tmp_path / "sample"))
    assert list(tmp_path.iterdir()) == []


def test_processes_that_draw_at_the_same_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        codes = list(threads.map(draw_in_process, [tmp_path / "sample"] * 4))
    assert codes == [0, 0, 0, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert len(open_dataset(config(tmp_path / "sample")).train) == 12


def draw_in_process(root: Path) -> int:
    code = (
        "import sys; from saltern.config import SampleConfig; from saltern.data.layouts.sample import read_sample;"
        "read_sample(SampleConfig(root=sys.argv[1], train=12, test=5, side=32))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run([sys.executable, "-c", code, str(root)], env=environment, check=False).returncode


def test_about_a_third_of_the_sections_is_empty_and_salt_comes_in_all_sizes() -> None:
    masks = np.stack([draw_section(np.random.default_rng([3, number]), 32).mask for number in range(300)])
    coverage = masks.mean(axis=(1, 2))
    assert 0.27 < (coverage == 0).mean() < 0.45
    assert (coverage > 0.5).mean() > 0.05
    assert ((coverage > 0) & (coverage < 0.15)).mean() > 0.05
