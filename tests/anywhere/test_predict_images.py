"""Any folder of images through a run's networks: the run's own masks, whatever the files, however often stopped."""

import csv
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from anywhere_runs import contents, masks, predict, read_probs
from PIL import Image

from saltern import pipeline, rle
from saltern.config import ConfigError, compose_config
from saltern.data.source import found
from saltern.errors import DataError, RunError
from saltern.inference.members import Members
from saltern.pipeline.target import Target

ROOT = Path(__file__).parents[2]


@pytest.fixture
def images(place: Path, tmp_path: Path) -> Path:
    """A copy of the run's test images."""
    folder = tmp_path / "images"
    shutil.copytree(place / "data" / "test" / "images", folder)
    return folder


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(found, "MOST_IMAGES", 2)


def test_the_runs_test_images_get_the_masks_of_its_submission(place: Path, images: Path, tmp_path: Path) -> None:
    done = predict(place, images, tmp_path / "t", probs=True, overlays=True)
    with (place / "outputs/a/submission.csv").open() as stream:
        expected = {row["id"]: rle.decode(row["rle_mask"], (40, 40)) for row in csv.DictReader(stream)}
    given = masks(tmp_path / "t")
    assert len(expected) == 5
    assert set(given) == set(expected)
    assert all(np.array_equal(given[name], expected[name] * 255) for name in expected)
    assert 0 < sum(mask.mean() for mask in expected.values()) < 5, "masks that could not differ"
    assert (done.images, done.with_foreground) == (5, sum(mask.any() for mask in expected.values()))
    stored, own = read_probs(tmp_path / "t/probs"), read_probs(place / "outputs/a/test")
    assert all(np.array_equal(stored[name], own[name]) for name in expected)


def test_the_table_says_what_the_masks_and_probabilities_do(place: Path, images: Path, tmp_path: Path) -> None:
    done = predict(place, images, tmp_path / "t", probs=True)
    given, stored = masks(tmp_path / "t"), read_probs(tmp_path / "t/probs")
    threshold = json.loads((place / "outputs/a/decision.json").read_text())["threshold"]
    with (tmp_path / "t/predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == sorted(given)
    for row in rows:
        mask, probs = given[row["id"]], stored[row["id"]].astype(np.float32)
        assert (int(row["height"]), int(row["width"])) == mask.shape
        assert float(row["foreground"]) == pytest.approx((mask == 255).mean(), abs=1e-6)
        assert float(row["max_probability"]) == pytest.approx(probs.max(), abs=1e-6)
        assert 0 <= float(row["presence"]) <= 1
        assert row["emptied"] == str(not mask.any() and bool((probs > threshold).any()))
    assert done.emptied == sum(row["emptied"] == "True" for row in rows)


def test_size_mode_and_folder_of_an_image_do_not_matter(place: Path, tmp_path: Path) -> None:
    """The same grey picture in every form that holds it without loss gets the same mask; others their own size."""
    grey = np.random.default_rng(0).integers(0, 256, (37, 53), np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    folder = tmp_path / "images"
    (folder / "deep" / "er").mkdir(parents=True)
    Image.fromarray(grey).save(folder / "grey.png")
    cv2.imwrite(str(folder / "sixteen.png"), grey.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "sixteen_tiff.tif"), grey.astype(np.uint16) * 257)
    Image.fromarray(colour).save(folder / "colour.bmp")
    Image.fromarray(np.dstack([colour, 255 - grey])).save(folder / "alpha.png")
    Image.fromarray(grey).convert("P").save(folder / "deep" / "palette.gif")
    Image.fromarray(colour).save(folder / "deep" / "er" / "packed.TIFF", compression="tiff_deflate")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(folder / "turned.png", exif=exif)
    Image.fromarray(grey[:9, :11]).save(folder / "deep" / "tiny.png")
    Image.fromarray(np.tile(grey, (4, 3))).save(folder / "large.webp", lossless=True)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    predict(place, folder, tmp_path / "t", overlays=True)
    given = masks(tmp_path / "t")
    names = {"grey", "sixteen", "sixteen_tiff", "colour", "alpha", "deep/palette", "deep/er/packed", "turned"}
    assert set(given) == names | {"deep/tiny", "large"}
    assert all(np.array_equal(given[name], given["grey"]) for name in names)
    assert (given["deep/tiny"].shape, given["large"].shape) == ((9, 11), (148, 159))
    assert {value for mask in given.values() for value in np.unique(mask)} == {0, 255}
    drawn = cv2.imread(str(tmp_path / "t/overlays/deep/er/packed.png"))
    assert drawn.shape == (37, 53, 3)
    plain = (drawn == colour).all(axis=2)
    inside = cv2.erode(given["grey"], np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    assert np.array_equal(~plain, (given["grey"] > 0) & (inside == 0)), "other pixels than the outline's were drawn"


@pytest.mark.usefixtures("small_parts")
def test_what_was_interrupted_goes_on_and_ends_the_same(
    place: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(place, images, tmp_path / "whole", probs=True)
    closing, closed = Target.close, []

    def stop(self: Target, *args: object) -> None:
        if len(closed) == 1:
            raise KeyboardInterrupt
        closed.append(args)
        closing(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Target, "close", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(place, images, tmp_path / "t", probs=True)
    assert not (tmp_path / "t/predictions.csv").exists()
    monkeypatch.setattr(Target, "close", closing)
    first = sorted(masks(tmp_path / "t"))[0]
    before = (tmp_path / f"t/masks/{first}.png").stat().st_mtime_ns
    assert predict(place, images, tmp_path / "t", probs=True).kept == 2
    assert (tmp_path / f"t/masks/{first}.png").stat().st_mtime_ns == before
    assert contents(tmp_path / "t") == contents(tmp_path / "whole")
    assert predict(place, images, tmp_path / "t", probs=True).kept == 5


@pytest.mark.usefixtures("small_parts")
def test_what_was_changed_is_named_and_done_anew(
    place: Path, images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predict(place, images, tmp_path / "t")
    right = masks(tmp_path / "t")
    names = sorted(right)
    (tmp_path / f"t/masks/{names[0]}.png").write_bytes(b"edited")
    (tmp_path / f"t/masks/{names[2]}.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert predict(place, images, tmp_path / "t").kept == 1
    assert f"masks/{names[0]}.png was changed by another hand" in caplog.text
    assert f"masks/{names[2]}.png is gone" in caplog.text
    assert all(np.array_equal(mask, right[name]) for name, mask in masks(tmp_path / "t").items())
    shutil.copyfile(images / f"{names[0]}.png", images / f"{names[4]}.png")
    with caplog.at_level(logging.WARNING):
        assert predict(place, images, tmp_path / "t").kept == 4
    assert "images of it were exchanged" in caplog.text
    assert np.array_equal(masks(tmp_path / "t")[names[4]], right[names[0]])


def test_a_target_that_was_begun_otherwise_is_refused(place: Path, images: Path, tmp_path: Path) -> None:
    target = tmp_path / "t"
    predict(place, images, target)
    with pytest.raises(RunError, match=r"probs was False, now True.*another target"):
        predict(place, images, target, probs=True)
    shutil.copytree(place / "outputs" / "a", place / "outputs" / "b")
    try:
        decision = json.loads((place / "outputs/b/decision.json").read_text())
        (place / "outputs/b/decision.json").write_text(json.dumps({**decision, "min_area": 31}))
        with pytest.raises(RunError, match=r"begun with the run a .*'min_area': 30.*'min_area': 31"):
            predict(place, images, target, "b")
        shutil.copyfile(place / "outputs/a/decision.json", place / "outputs/b/decision.json")
        seal = place / "outputs/b/fold_1/done.json"
        seal.write_text(json.dumps({**json.loads(seal.read_text()), "best": 0.5}))
        pipeline.tune_decision(pipeline.Job.reopen(str(place / "outputs"), "b"))
        shutil.copyfile(place / "outputs/a/decision.json", place / "outputs/b/decision.json")
        with pytest.raises(RunError, match=r"fold_1/done.json of the run changed since, or is another run's"):
            predict(place, images, target, "b")
    finally:
        shutil.rmtree(place / "outputs" / "b")
    (images / "new.png").write_bytes(next(images.glob("*.png")).read_bytes())
    with pytest.raises(RunError, match=r"for 5 images; in .* 1 came since and 0 went, such as 'new.png'"):
        predict(place, images, target)
    (images / "new.png").unlink()
    (target / "images.csv").write_text("image,height,width\n")
    with pytest.raises(RunError, match=r"images.csv: is gone or was changed by another hand"):
        predict(place, images, target)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    with pytest.raises(RunError, match=r"holds files but no begun.json"):
        predict(place, images, tmp_path / "full")


def test_networks_that_take_turns_write_the_same_files(
    place: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(place, images, tmp_path / "together", probs=True)
    loaded, most = Members._predictor, []
    monkeypatch.setattr(Members, "_predictor", lambda self, paths: most.append(len(paths)) or loaded(self, paths))
    predict(place, images, tmp_path / "turns", probs=True, turns=True)
    assert most == [1, 1]
    assert contents(tmp_path / "turns") == contents(tmp_path / "together")


def test_the_data_set_of_the_run_need_not_be_there(place: Path, images: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "outputs", tmp_path / "outputs")
    config = tmp_path / "outputs/a/config.yaml"
    config.write_text(config.read_text().replace(str(place / "data"), str(tmp_path / "nowhere")))
    assert predict(tmp_path, images, tmp_path / "t").images == 5
    assert not (tmp_path / "nowhere").exists()


def test_a_damaged_image_is_named_before_the_first_is_predicted(place: Path, images: Path, tmp_path: Path) -> None:
    victim = sorted(images.glob("*.png"))[3]
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(DataError, match=victim.name):
        predict(place, images, tmp_path / "t")
    assert not (tmp_path / "t/masks").exists()
    victim.unlink()
    assert predict(place, images, tmp_path / "t").images == 4


def test_an_ensemble_says_whose_networks_to_take(place: Path, images: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "outputs" / "a", tmp_path / "outputs" / "a")
    shutil.copytree(place / "outputs" / "a", tmp_path / "outputs" / "b")
    overrides = ["name=e", "runs=[a,b]", f"outputs={tmp_path / 'outputs'}", f"root={place / 'data'}"]
    pipeline.ensemble_runs(compose_config("ensemble", overrides))
    with pytest.raises(RunError, match="no networks of its own; predict with each of a, b"):
        predict(tmp_path, images, tmp_path / "t", "e")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["images=x"], "target=None: expected a folder"),
        (["target=x"], "target=x: is for a folder of images alone; give images=FOLDER"),
        (["overlays=true"], "overlays=True: is for a folder of images"),
        (["images=x", "target=x/masks"], "expected a folder apart from images=x"),
        (["images=x/y", "target=x"], "expected a folder apart from images=x/y"),
    ],
)
def test_half_a_request_is_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose_config("predict", overrides)


def test_the_command_takes_the_runs_settings_and_no_others(place: Path, images: Path, tmp_path: Path) -> None:
    def call(*overrides: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(ROOT / "scripts" / "predict.py"), "name=a", f"outputs={place / 'outputs'}"]
        return subprocess.run([*words, *overrides], capture_output=True, text=True, cwd=tmp_path, check=False)

    done = call(f"images={images}", "target=t", "trainer.eval_batch_size=2")
    assert done.returncode == 0, done.stderr
    assert "5 images: " in done.stdout
    assert len(masks(tmp_path / "t")) == 5
    two = call(f"images={images}", "target=two", "trainer.eval_batch_size=2", "trainer.devices=2")
    assert two.returncode == 0, two.stderr
    assert contents(tmp_path / "two") == contents(tmp_path / "t"), "two processes write what one does"
    refused = call(f"images={images}", "target=u", "inference.views=[identity]")
    assert refused.returncode == 2
    assert "inference.views" in refused.stderr
    assert not (tmp_path / "u").exists()
