"""A bundle predicts what its run does, in a new environment without a package index, and notices what was altered."""

import csv
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from anywhere_runs import read_probs
from safetensors.numpy import load_file

from saltern import pipeline, rle, wheels
from saltern.config import BundleConfig, ConfigError, compose_config
from saltern.errors import DataError, RunError
from saltern.pipeline import bundling
from saltern.pipeline.bundled import Bundle, predict_bundle


@pytest.fixture(scope="module")
def outputs(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which bundles are written into."""
    folder = tmp_path_factory.mktemp("bundles") / "outputs"
    shutil.copytree(place / "outputs", folder)
    return folder


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test that is not about wheels the seconds of building one."""
    monkeypatch.setattr(bundling, "build_own_wheel", lambda _, target: (target / "saltern-0-x.whl").write_text("none"))


def bundle(outputs: Path, **asked: object) -> Bundle:
    job = pipeline.Job.reopen(str(outputs), "a")
    return pipeline.bundle_run(job, BundleConfig(**{"wheels": [], **asked})).bundle  # type: ignore[arg-type]


def masks_in(path: Path) -> dict[str, np.ndarray]:
    with path.open() as stream:
        return {row["id"]: rle.decode(row["rle_mask"], (40, 40)) for row in csv.DictReader(stream)}


# ------------------------------------------------------------------------------ in a new environment
def plain_environment(folder: Path, brought: Path) -> Path:
    """Python of a new environment that has all packages of this one, but for Saltern and those of the folder `brought`.

    So is a machine that has torch and pandas and lacks what the bundle brings along.
    """
    site = Path(str(importlib.metadata.distribution("torch").locate_file("")))
    names = {"saltern", *(re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() for path in brought.glob("*.whl"))}
    away = set()
    for item in importlib.metadata.distributions(path=[str(site)]):
        if re.sub(r"[-_.]+", "-", item.name).lower() in names:
            away |= {Path(str(file)).parts[0] for file in item.files or ()}
    (folder / "plain").mkdir(parents=True)
    for item_path in site.iterdir():
        if item_path.name not in away and item_path.suffix != ".pth" and "saltern" not in item_path.name:
            (folder / "plain" / item_path.name).symlink_to(item_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (own,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (own / "plain.pth").write_text(f"{folder / 'plain'}\n")
    return folder / "venv" / "bin" / "python"


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    unset = ("PYTHONPATH", "PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL")
    alone = {name: value for name, value in os.environ.items() if name not in unset}
    alone |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "HF_HUB_OFFLINE": "1"}
    return subprocess.run([*map(str, words)], env=alone, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("brings", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_predicts_in_a_new_environment_without_an_index(
    outputs: Path, place: Path, tmp_path: Path, *, brings: bool
) -> None:
    """`brings`: with all that a plain machine lacks, which pip fetches from an index while the bundle is made."""
    given = bundle(outputs, **({"wheels": BundleConfig().wheels} if brings else {}))
    if brings and given.opened().lacking:
        pytest.skip(f"no index here to fetch wheels from: {given.opened().lacking}")
    with zipfile.ZipFile(outputs / "a" / "bundle.zip") as packed:
        packed.extractall(tmp_path)
    there, images, target = tmp_path / "bundle", place / "data/test/images", tmp_path / "out.csv"
    python = plain_environment(tmp_path / "machine", there / "wheels")
    before = call(python, there / "predict.py", images, target)
    assert before.returncode == 2
    assert f"pip install --no-index --find-links {there / 'wheels'} saltern" in before.stderr
    installed = call(python, "-m", "pip", "install", "--no-index", "--find-links", there / "wheels", "saltern")
    assert installed.returncode == 0, installed.stdout + installed.stderr
    found = call(python, "-c", "import saltern; print(saltern.__file__)").stdout
    assert found.startswith(str(tmp_path / "machine/venv"))
    after = call(python, there / "predict.py", images, target)
    assert after.returncode == 0, after.stderr
    assert "5 rows" in after.stdout
    assert target.read_bytes() == (outputs / "a/submission.csv").read_bytes()
    weights = there / given.opened().members[0]
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    altered = call(python, there / "predict.py", images, tmp_path / "no.csv")
    assert (altered.returncode, (tmp_path / "no.csv").exists()) == (2, False)
    assert "weights/fold_0/best.safetensors was altered since the bundle was made" in altered.stderr


# ------------------------------------------------------------------------------------- what is in it
@pytest.mark.usefixtures("no_wheels")
def test_half_weights_differ_in_as_many_pixels_as_are_stated(outputs: Path, place: Path, tmp_path: Path) -> None:
    whole = sum((outputs / "a" / f"fold_{fold}/best.safetensors").stat().st_size for fold in (0, 1))
    given = bundle(outputs, weights="fp16")
    seal = given.opened()
    assert sum((given.path / name).stat().st_size for name in seal.members) < 0.6 * whole
    trained = load_file(outputs / "a/fold_0/best.safetensors")
    for name, tensor in load_file(given.path / seal.members[0]).items():
        assert np.array_equal(tensor, trained[name].astype(np.float16) if tensor.ndim > 1 else trained[name])
    predict_bundle(given.path, place / "data/test/images", tmp_path / "out.csv")
    here, own = masks_in(tmp_path / "out.csv"), masks_in(outputs / "a/submission.csv")
    differing = [int((here[name] != own[name]).sum()) for name in own]
    assert seal.compared is not None
    assert (seal.compared.images, seal.compared.pixels) == (5, 5 * 40 * 40)
    assert (seal.compared.differing, seal.compared.most) == (sum(differing), max(differing))
    assert 0 < seal.compared.probability < 0.01


def test_what_half_precision_cannot_hold_stays_as_it_was(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file

    from saltern.models.trained import halve_weights

    tensors = {"large": torch.full((2, 2), 1e6), "bias": torch.ones(3), "count": torch.tensor(7)}
    save_file({**tensors, "fits": torch.full((2, 2), 0.3)}, tmp_path / "in.safetensors")
    assert halve_weights(tmp_path / "in.safetensors", tmp_path / "out.safetensors") == ["large"]
    found = load(tmp_path / "out.safetensors")
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )
    assert found["fits"].dtype == torch.float16


@pytest.mark.usefixtures("no_wheels")
def test_chosen_members_alone_predict(outputs: Path, place: Path, tmp_path: Path) -> None:
    given = bundle(outputs, members=[1])
    assert given.opened().members == ["weights/fold_1/best.safetensors"]
    predict_bundle(given.path, place / "data/test/images", tmp_path / "out.csv")
    alone = masks_in(tmp_path / "out.csv")
    own = masks_in(outputs / "a/submission.csv")
    assert set(alone) == set(own)
    assert any((alone[name] != own[name]).any() for name in own), "the mean of two networks, or a weak test"
    for asked in ([7], ["all"]):
        with pytest.raises(ConfigError, match=r"members: .*unknown member .* Known: 0, 1"):
            bundle(outputs, members=asked)


@pytest.mark.usefixtures("no_wheels")
def test_whatever_was_altered_or_is_gone_is_named(outputs: Path, place: Path, tmp_path: Path) -> None:
    given, there = bundle(outputs), Bundle(tmp_path / "bundle")
    shutil.copytree(given.path, there.path)
    shutil.rmtree(there.wheels)
    there.opened()  # wheels may go
    there.config.write_text(there.config.read_text().replace("threshold", "thresholds"))
    there.decision.write_text(json.dumps({"threshold": 0.1, "min_area": 0, "empty_gate": None}))
    (there.path / given.opened().members[1]).unlink()
    with pytest.raises(RunError) as error:
        predict_bundle(there.path, place / "data/test/images", tmp_path / "out.csv")
    for words in ("config.yaml was altered", "decision.json was altered", "weights/fold_1/best.safetensors is gone"):
        assert words in str(error.value)
    there.seal.write_text("{}")
    with pytest.raises(RunError, match=r"bundle\.json: not what Saltern writes there .*Unpack bundle\.zip again"):
        there.opened()


@pytest.mark.usefixtures("no_wheels")
def test_a_run_that_is_not_finished_is_not_bundled(outputs: Path, tmp_path: Path) -> None:
    shutil.copytree(outputs / "a", tmp_path / "a", ignore=shutil.ignore_patterns("bundle*", "decision.json"))
    with pytest.raises(RunError, match=r"decision\.json is gone"):
        bundle(tmp_path)
    assert not (tmp_path / "a/bundle").exists()


# ---------------------------------------------------------------------------------------- which rows
@pytest.mark.usefixtures("no_wheels")
def test_ids_and_their_order(outputs: Path, place: Path, tmp_path: Path) -> None:
    given, images = bundle(outputs), tmp_path / "images"
    shutil.copytree(place / "data/test/images", images / "deep")
    cv2.imwrite(str(images / "a_stranger.png"), np.zeros((9, 13, 3), np.uint8))
    own = list(masks_in(outputs / "a/submission.csv"))
    predict_bundle(given.path, images, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == [*own, "a_stranger"]
    sample = tmp_path / "sample.csv"
    sample.write_text(f"id,rle_mask\n{own[3]},1 1\n{own[0]},1 1\n")
    predict_bundle(given.path, images, tmp_path / "two.csv", sample)
    two, all_masks = masks_in(tmp_path / "two.csv"), masks_in(outputs / "a/submission.csv")
    assert list(two) == [own[3], own[0]]
    assert all(np.array_equal(two[name], all_masks[name]) for name in two)
    sample.write_text("id,rle_mask\nnobody,1 1\n")
    with pytest.raises(DataError, match="'nobody': no image of it"):
        predict_bundle(given.path, images, tmp_path / "no.csv", sample)
    shutil.copyfile(images / "a_stranger.png", images / "deep/a_stranger.png")
    with pytest.raises(DataError, match=r"deep/a_stranger\.png: has the id 'a_stranger', as a_stranger\.png has"):
        predict_bundle(given.path, images, tmp_path / "no.csv")
    assert not (tmp_path / "no.csv").exists()
    assert set(read_probs(outputs / "a/test")) == set(own)


# ---------------------------------------------------------------------------------------- the wheels
def test_wheels_that_cannot_be_had_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    lock = tmp_path / "requirements.txt"
    lock.write_text("# a lock\nHydra_Core==1.3.8\ntorch==2.15.0 ; platform_system == 'Linux'\n")
    assert wheels.locked_versions(lock) == {"hydra-core": "1.3.8", "torch": "2.15.0"}
    missing = wheels.fetch_wheels(["hydra-core", "no-such"], lock, tmp_path / "wheels")
    assert sorted(missing) == ["hydra-core", "no-such"]
    assert "hydra-core==1.3.8" in missing["hydra-core"]
    assert missing["no-such"] == "requirements.txt has no version of it"


def test_the_wheel_holds_the_package_and_leaves_no_trace(tmp_path: Path) -> None:
    before = sorted(path.name for path in bundling.PROJECT.iterdir())
    path = wheels.build_own_wheel(bundling.PROJECT, tmp_path)
    with zipfile.ZipFile(path) as packed:
        names = set(packed.namelist())
    assert {"saltern/__init__.py", "saltern/pipeline/bundled.py", "saltern/report/templates/run.html"} <= names
    assert sorted(path.name for path in bundling.PROJECT.iterdir()) == before
    with pytest.raises(RunError, match=r"holds no pyproject\.toml, .*no checkout"):
        wheels.build_own_wheel(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("weights=int8", "weights: unknown value 'int8'"),
        ("members=[]", "members=[]: expected all, or a list"),
        ("members=[0,0]", "different folds"),
        ("members=best", "expected all, or a list"),
        ("members=[true]", "expected all, or a list"),
        ("compare=-1", "compare=-1: expected 0 or more"),
        ("wheels=['torch==2.0']", "without versions"),
    ],
)
def test_what_cannot_be_asked_for(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        compose_config("bundle", [override])
