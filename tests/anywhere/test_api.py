"""A run from Python: the masks that `make predict` writes, and clear words for what is no image."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from anywhere_runs import masks, predict, read_probs
from PIL import Image

import saltern
from saltern.errors import ConfigError, DataError, RunError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def run(place: Path) -> saltern.Run:
    return saltern.load(place / "outputs" / "a")


def test_importing_saltern_does_not_import_torch() -> None:
    code = (
        "import sys, saltern; heavy = {'torch', 'pandas', 'numpy', 'hydra'} & set(sys.modules); "
        "assert not heavy, heavy; assert {'load', 'Run'} <= set(dir(saltern)); "
        "assert not hasattr(saltern, 'lode'); from saltern import rle"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "src")


def test_its_masks_are_those_of_make_predict(run: saltern.Run, place: Path, tmp_path: Path) -> None:
    folder = place / "data" / "test" / "images"
    predict(place, folder, tmp_path / "t", probs=True)
    written, stored = masks(tmp_path / "t"), read_probs(tmp_path / "t" / "probs")
    paths = sorted(folder.iterdir())
    assert len(paths) == 5
    arrays = [np.asarray(Image.open(path)) for path in paths]
    for path, array, mask, probs in zip(paths, arrays, run.predict(paths), run.probs(iter(paths)), strict=True):
        assert mask.dtype == np.uint8
        assert np.array_equal(mask * 255, written[path.stem])
        assert probs.dtype == np.float32
        assert np.array_equal(probs.astype(np.float16), stored[path.stem])
        assert np.array_equal(run.predict(str(path)), mask)
        assert np.array_equal(run.predict(array), mask)
        assert np.allclose(run.probs(array), probs, atol=1e-5)


def test_a_grey_array_is_its_three_channels_and_sizes_may_differ(run: saltern.Run) -> None:
    random = np.random.default_rng(0)
    greys = [random.integers(0, 256, size, np.uint8) for size in ((9, 50), (40, 40), (70, 33), (40, 40))]
    given = list(run.probs(greys))
    assert [probs.shape for probs in given] == [(9, 50), (40, 40), (70, 33), (40, 40)], "the order is kept"
    for grey, probs in zip(greys, given, strict=True):
        alone = run.probs(np.stack([grey] * 3, axis=2))
        assert np.allclose(probs, alone, atol=1e-5)
    assert not np.allclose(given[1], given[3], atol=1e-5)
    assert list(run.predict([])) == []


def test_an_iterable_is_read_as_it_is_asked_for(run: saltern.Run) -> None:
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield np.zeros((8, 8), np.uint8)

    assert next(run.predict(endless())).shape == (8, 8)
    assert asked <= run.config.trainer.eval_batch_size


def test_scores_decision_and_out_of_fold_are_those_of_the_files(run: saltern.Run, place: Path) -> None:
    folder = place / "outputs" / "a"
    assert run.scores == json.loads((folder / "scores.json").read_text())
    assert run.decision.threshold == json.loads((folder / "decision.json").read_text())["threshold"]
    stored = read_probs(folder / "oof")
    assert set(run.oof_ids) == set(stored)
    assert len(stored) == 12
    for name, probs in stored.items():
        assert run.oof(name).dtype == np.float32
        assert np.array_equal(run.oof(name), probs.astype(np.float32))
    assert (run.name, repr(run)) == ("a", f"<saltern.Run {str(folder)!r}>")
    with pytest.raises(RunError, match="unknown id 'strange'"):
        run.oof("strange")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4), np.float32), r"image 0: an array of float32; expected uint8.*\(image \* 255\)"),
        (np.full((4, 4), 200.5), r"float64.*image.round\(\).astype\('uint8'\)"),
        (np.full((4, 4), -1.5), r"values go from -1.5 to -1.5, as after a normalisation"),
        (np.full((4, 4), np.nan), r"NaN"),
        (np.full((4, 4), 60000, np.uint16), r"uint16.*\(image >> 8\)"),
        (np.zeros((4, 4), bool), r"array of bool"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\).*alpha.*\[\.\.\., :3\]"),
        (np.zeros((4, 4, 1), np.uint8), r"\[\.\.\., 0\]"),
        (np.zeros((3, 4, 4), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"list\(images\)"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (torch.zeros(4, 4), r"is a torch.Tensor; expected a NumPy array"),
        (Image.new("L", (4, 4)), r"is a PIL.Image.Image"),
        (None, r"NoneType"),
        ({"image": 1}, r"builtins.dict"),
        ("no/such.png", r"no/such.png: no such file"),
        (str(ROOT), r"a folder; expected an image"),
    ],
)
def test_what_is_no_image_is_refused(run: saltern.Run, image: object, said: str) -> None:
    for method in (run.predict, run.probs):
        with pytest.raises(DataError, match=said):
            method(image)  # type: ignore[call-overload]


def test_the_place_of_a_bad_image_among_others_is_told(run: saltern.Run) -> None:
    good = np.zeros((8, 8), np.uint8)
    with pytest.raises(DataError, match=r"image 2: an array of float64"):
        list(run.predict([good, good, good / 255.0]))


def test_what_is_no_finished_run_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no such run folder"):
        saltern.load(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"holds no config.yaml, so it is no run"):
        saltern.load(place / "outputs")
    shutil.copytree(place / "outputs" / "a", tmp_path / "b")
    with pytest.raises(ConfigError, match=r"trainer.precision.*fp8"):
        saltern.load(tmp_path / "b", precision="fp8")
    weights = tmp_path / "b" / "fold_0" / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match=r"best.safetensors was changed by another hand"):
        saltern.load(tmp_path / "b").predict(np.zeros((8, 8), np.uint8))
    (tmp_path / "b" / "decision.json").unlink()
    with pytest.raises(RunError, match=r"is not finished, it has no decision.json"):
        saltern.load(tmp_path / "b")


def test_the_notebook_runs(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code cells, in their order, where the sample run is this folder's run."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    (tmp_path / "outputs").mkdir()
    shutil.copytree(place / "outputs" / "a", tmp_path / "outputs" / "sample")
    shutil.copytree(place / "data", tmp_path / "data" / "sample")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code"), (
        "kept without outputs"
    )
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"notebook.ipynb, cell {number}", "exec"), names)
    assert np.array_equal(names["mask"], names["run"].predict(names["path"]))  # type: ignore[attr-defined]
