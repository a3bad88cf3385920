"""Runs that are averaged or compared mean the same truth by an id, and so does a run when its page is drawn."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from small_members import compare, ensemble, reopened

from saltern import pipeline
from saltern.data.source.truths import Hashes, hash_truth, read_truths, write_truths
from saltern.errors import RunError
from saltern.files import write_json
from saltern.pipeline.truths import pixels_for_page, refuse_other_truths, truths_of


def flip_pixel(path: Path) -> None:
    """Turn over the truth of one pixel of a mask file of {0, 255}, or {0, 65535}."""
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[3, 5] = 0 if mask[3, 5] else np.iinfo(mask.dtype).max
    cv2.imwrite(str(path), mask)


def other_data(place: Path, kind: str) -> str:
    """A copy of the data set under the same ids, of which every mask is inverted, one pixel, or one image changed."""
    shutil.copytree(place / "data", place / kind)
    masks, images = (sorted((place / kind / "train" / name).glob("*.png")) for name in ("masks", "images"))
    assert len(masks) == len(images) == 12
    if kind == "inverted":
        for path in masks:
            mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(path), np.iinfo(mask.dtype).max - mask)
    elif kind == "pixel":
        flip_pixel(masks[4])
    else:
        cv2.imwrite(str(images[4]), 255 - cv2.imread(str(images[4]), cv2.IMREAD_UNCHANGED))
    return kind


def tuned_on(place: Path, name: str, kind: str) -> None:
    """Tune and finish a run on another data set, as if it had been begun there."""
    pipeline.finish_run(reopened(place, name, other_data(place, kind)))
    config = place / "outputs" / name / "config.yaml"
    config.write_text(config.read_text().replace(str(place / "data"), str(place / kind)))


def as_of_an_earlier_version(place: Path, name: str) -> None:
    """Take `truth.csv` and all that later versions say of it from a finished run."""
    run = place / "outputs" / name
    (run / "truth.csv").unlink()
    seal = json.loads((run / "done/tune.json").read_text())
    del seal["files"]["truth.csv"]
    write_json(run / "done/tune.json", seal)
    pipeline.write_report(reopened(place, name))


def test_hashes_are_of_the_native_target_and_the_files_bytes(place: Path) -> None:
    truths = pd.read_csv(place / "outputs/a/truth.csv", dtype=str).set_index("id")
    folds = pd.read_csv(place / "outputs/a/folds.csv", dtype=str)
    assert sorted(truths.index) == sorted(folds["id"])
    assert "truth.csv" in json.loads((place / "outputs/a/done/tune.json").read_text())["files"]
    for name, row in truths.iterrows():
        data = (place / f"data/train/images/{name}.png").read_bytes()
        assert row["image"] == hashlib.blake2b(data, digest_size=16).hexdigest()
        mask = cv2.imread(str(place / f"data/train/masks/{name}.png"), cv2.IMREAD_UNCHANGED)
        target = bytes(int(value > 0) for value in mask.ravel().tolist())
        shape = (32).to_bytes(8, "little") * 2
        assert row["truth"] == hashlib.blake2b(shape + target, digest_size=16).hexdigest()


def test_a_truth_is_its_values_and_its_shape_not_how_it_lies_in_memory() -> None:
    target = np.array([[0, 1, 255], [1, 1, 0]], np.uint8)
    assert hash_truth(target) == hash_truth(np.asfortranarray(target)) == hash_truth(np.repeat(target, 2, 1)[:, ::2])
    empty = [hash_truth(np.zeros(shape, np.uint8)) for shape in ((2, 3), (3, 2), (6, 1), (0, 6))]
    assert len({hash_truth(target), hash_truth(target.T), *empty}) == 6


def test_what_is_written_is_read_and_what_is_no_such_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    truths = {'a,"b': Hashes("0" * 32, "f" * 32), "007": Hashes("1" * 32, "2" * 32), "NA": Hashes("3" * 32, "4" * 32)}
    write_truths(path, truths)
    assert read_truths(path) == truths
    write_truths(path, {})
    assert read_truths(path) == {}
    for text, told in (
        ("id,truth\na,b\n", "no column image"),
        (f"id,truth,image\na,{'0' * 32},xyz\n", "'xyz' in the column image is no hash"),
        (f"id,truth,image\n{2 * ('a,' + '0' * 32 + ',' + '0' * 32 + chr(10))}", "'a' stands there twice"),
    ):
        path.write_text(text)
        with pytest.raises(RunError, match=told) as refused:
            read_truths(path)
        assert "make tune" in str(refused.value)


def test_inverted_masks_under_the_same_ids_are_refused_by_both(place: Path) -> None:
    tuned_on(place, "b", "inverted")
    for call, insist in ((ensemble, False), (compare, False), (ensemble, True), (compare, True)):
        with pytest.raises(RunError, match=r"a and .*b were scored on different truths: .* 12 of 12 images \(") as told:
            call(place, "a", "b", insist=insist)
        assert "…)" in str(told.value)
    assert not (place / "outputs/e").exists(), "nothing was averaged"
    assert not (place / "outputs/compare").exists(), "nothing was drawn"


def test_a_pixel_is_enough_and_the_run_tuned_on_the_masks_of_today_agrees_again(place: Path) -> None:
    tuned_on(place, "b", "pixel")
    name = sorted(path.stem for path in (place / "data/train/masks").iterdir())[4]
    with pytest.raises(RunError, match=rf"1 of 12 images \('{name}'\) differ.*`make tune`"):
        compare(place, "a", "b")
    pipeline.finish_run(reopened(place, "a", "pixel"))
    _, (found,) = compare(place, "a", "b", root=place / "pixel")
    assert found.ties == found.images == 12


def test_other_images_under_the_same_ids_are_refused_unless_insisted(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tuned_on(place, "b", "image")
    for call in (ensemble, compare):
        with pytest.raises(RunError, match=r"other data under the same ids: the files of 1 of 12 .*insist=true"):
            call(place, "a", "b")
    job = ensemble(place, "a", "b", insist=True)
    assert "insist=true takes them as the same images" in caplog.text
    assert json.loads(job.run.ensemble.read_text())["other_images"] == 1
    page, _ = compare(place, "a", "b", insist=True)
    for text in (job.run.report.read_text(), page.read_text()):
        assert "Other data under the same ids: the files of 1 images" in text.split("<h2")[0]


def test_a_data_set_that_moved_is_the_same(place: Path) -> None:
    (place / "data").rename(place / "moved")
    job = ensemble(place, "a", "b", root=place / "moved")
    assert read_truths(job.run.truth) == read_truths(place / "outputs/a/truth.csv")
    assert compare(place, "a", "e", root=place / "moved")[1][0].ties == 12


def test_a_run_of_an_earlier_version_is_read_from_its_data_set(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    as_of_an_earlier_version(place, "b")
    assert "a mask that changed since `make tune` would not be noticed" in caplog.text
    assert compare(place, "a", "b")[1][0].ties == 12
    assert "b/truth.csv: is not there, an earlier version tuned this run" in caplog.text
    flip_pixel(sorted((place / "data/train/masks").glob("*.png"))[0])
    with pytest.raises(RunError, match="1 of 12 images"):
        ensemble(place, "a", "b")
    shutil.rmtree(place / "data/train/images")
    with pytest.raises(RunError, match=r"(?s)b/truth.csv: is not there, and .*make tune name=b dataset\.root=…"):
        truths_of(reopened(place, "b"))


def test_a_mask_that_changes_after_tuning_is_named_by_the_page_and_scored_by_tune(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    page = (place / "outputs/a/report.html").read_bytes()
    for changed in (place / "data/train/masks").glob("*.png"):
        flip_pixel(changed)
    for stage in (
        lambda: pipeline.write_report(reopened(place, "a")),
        lambda: pixels_for_page(reopened(place, "b"))(changed.stem),
    ):
        with pytest.raises(RunError, match=r"the mask of '\w+' is not the one .*make tune name="):
            stage()
    assert (place / "outputs/a/report.html").read_bytes() == page
    pipeline.finish_run(reopened(place, "a"))
    assert "the masks of 12 of 12 images (" in caplog.text
    assert "changed since the last tuning; scores are those of today's masks" in caplog.text
    pipeline.write_report(reopened(place, "a"))


def test_an_image_file_that_changes_after_tuning_is_told_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in sorted((place / "data/train/images").glob("*.png")):
        cv2.imwrite(str(path), 255 - cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    pipeline.write_report(reopened(place, "a"))
    assert caplog.text.count("changed since the run was scored") == 1
    pipeline.tune_decision(reopened(place, "a"))
    assert "the image files of 12 of 12 images (" in caplog.text
    assert "the masks of" not in caplog.text


def test_an_ensemble_is_not_scored_on_masks_that_its_members_do_not_know(place: Path) -> None:
    ensemble(place, "a", "b")
    flip_pixel(sorted((place / "data/train/masks").glob("*.png"))[0])
    with pytest.raises(RunError, match=r"the masks of 1 of 12 .* are not those that .*outputs/a was scored on"):
        pipeline.tune_decision(reopened(place, "e"))
    with pytest.raises(RunError, match=r"are not those that .*outputs/b was scored on.*`make tune name=b`"):
        ensemble(place, "b", "a", name="later")


def test_a_single_image_and_truths_that_are_all_empty(place: Path) -> None:
    first, other = (reopened(place, name) for name in "ab")
    empty, pixel = hash_truth(np.zeros((32, 32), np.uint8)), hash_truth(np.eye(32, dtype=np.uint8))

    def asked(truths: dict[str, Hashes], others: dict[str, Hashes]) -> int:
        for job, content in ((first, truths), (other, others)):
            write_truths(job.run.truth, content)
        return refuse_other_truths([first, other], insist=False)

    assert asked({"x": Hashes(empty, "0" * 32)}, {"x": Hashes(empty, "0" * 32)}) == 0
    with pytest.raises(RunError, match=r"the masks of 1 of 1 images \('x'\) differ"):
        asked({"x": Hashes(empty, "0" * 32)}, {"x": Hashes(pixel, "0" * 32)})
    all_empty = {f"{row}": Hashes(empty, f"{row}" * 32) for row in range(5)}
    assert asked(all_empty, dict(reversed(all_empty.items()))) == 0
    with pytest.raises(RunError, match="other data under the same ids: the files of 5 of 5"):
        asked(all_empty, {name: Hashes(empty, "f" * 32) for name in all_empty})
