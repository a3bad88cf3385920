"""Neighbours and look-alikes across a split and between test and training, counted where the truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ks_2samp

from saltern import rle
from saltern.config import FoldsConfig, TgsConfig
from saltern.data.check.examine import check_dataset
from saltern.data.folds.division import divide
from saltern.data.folds.neighbours import count_neighbours
from saltern.data.layouts.opening import open_dataset
from saltern.data.layouts.section import draw_section
from saltern.data.likeness.adjacency import Link, Seams
from saltern.data.likeness.fingerprints import Fingerprint
from saltern.data.likeness.looks import Looks
from saltern.report.dataset_page import write_dataset_page

SIDE = 48
"""Pixels of a tile."""


def link(first: int, second: int, ratio: float = 0.1) -> Link:
    return Link(first, second, "right", 0.9, ratio, ratio)


def test_tiles_beside_other_folds_and_test_tiles_beside_training_by_hand() -> None:
    """Four labelled tiles in a row, then two test tiles: 4 continues 3, 5 continues only 4."""
    seams = Seams(6, [link(0, 1), link(1, 2), link(3, 4), link(4, 5), link(2, 3, 0.7)], [], [])
    found = count_neighbours(seams, [0, 0, 1, -1], max_ratio=0.8)
    assert (found.across.images, found.across.share) == (2, pytest.approx(2 / 3))  # 1 and 2; 3 is never validated
    assert found.across_possible.images == 2
    assert (found.test.images, found.test.share) == (1, 0.5)
    assert found.links == {"clear": 4, "clear_by_chance": 0, "possible": 5, "possible_by_chance": 0}
    assert count_neighbours(seams, [0, 0, 0, 1], max_ratio=0.8).across_possible.images == 2
    assert count_neighbours(seams, [0, 0, 0, 1], max_ratio=0.8).warnings() == []
    assert "2 labelled tiles (66.7%) clearly continue one in another fold" in found.warnings()[0]


def tiles_of(sections: range, kept: float) -> list[np.ndarray]:
    random = np.random.default_rng(sections.start)
    large = [draw_section(np.random.default_rng([7, number]), 4 * SIDE).image for number in sections]
    places = [(s, r, c) for s in range(len(large)) for r in range(4) for c in range(4) if random.random() < kept]
    return [large[s][r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE] for s, r, c in places]


def looked(labelled: list[np.ndarray], test: list[np.ndarray]) -> tuple[Looks, np.ndarray]:
    prints = [Fingerprint.of(image) for image in [*labelled, *test]]
    return Looks.of(prints), np.arange(len(prints)) < len(labelled)


def test_a_test_cut_from_the_same_sections_calls_for_stratified_and_one_from_others_for_adjacency() -> None:
    tiles = tiles_of(range(30), 0.8)
    order = np.random.default_rng(0).permutation(len(tiles))
    mixed = [tiles[index] for index in order]
    looks, which = looked(mixed[:250], mixed[250:])
    same = looks.resemblance(which)
    assert same.recommended == "stratified"
    assert same.neighbours.labelled is not None
    assert same.neighbours.test is not None
    assert same.neighbours.test > 0.5 * same.neighbours.labelled > 0.2
    looks, which = looked(mixed[:250], tiles_of(range(100, 110), 0.8))
    other = looks.resemblance(which)
    assert other.recommended == "adjacency"
    assert other.neighbours.test is not None
    assert other.neighbours.test < 0.1
    assert "other folds would promise too much" in other.why


def test_look_alikes_among_the_labelled_alone_call_for_duplicates() -> None:
    images = [draw_section(np.random.default_rng(number), 40).image for number in range(90)]
    black = [np.zeros((40, 40), np.uint8)] * 9
    looks, which = looked([*images[:40], *images[:30], *black], [*images[60:], *black])
    found = looks.resemblance(which)
    assert (found.recommended, found.alike.labelled, found.alike.test) == ("duplicates", pytest.approx(60 / 79), 0.0)
    looks, which = looked([*images[:40], *images[:30]], images[:30])
    assert looks.resemblance(which).recommended == "stratified"


def test_brightness_and_sizes_beside_scipy() -> None:
    random = np.random.default_rng(0)
    ours = [random.integers(0, 200, (40, 40), np.uint8) for _ in range(60)]
    theirs = [random.integers(60, 256, (40, 44), np.uint8) for _ in range(30)]
    looks, which = looked(ours, theirs)
    found = looks.resemblance(which)
    assert found.brightness is not None
    means = [np.array([image.mean() for image in part]) for part in (ours, theirs)]
    assert found.brightness.labelled == pytest.approx(means[0].mean(), abs=0.5)
    assert found.brightness.ks == pytest.approx(ks_2samp(*means).statistic, abs=0.02)
    assert found.brightness.difference > 5
    assert found.new_sizes == 1.0
    assert any("differ" in line for line in found.lines())
    json.dumps(found.as_dict(), allow_nan=False)


def test_without_a_test_nothing_is_said_about_it() -> None:
    looks, which = looked([draw_section(np.random.default_rng(number), 40).image for number in range(6)], [])
    found = looks.resemblance(which)
    assert (found.neighbours.test, found.new_sizes, found.brightness) == (None, None, None)
    assert found.recommended == "stratified"


def tgs_of_tiles(root: Path, tiles: list[np.ndarray], labelled: int) -> TgsConfig:
    """A set of `tiles` in random order: the first `labelled` with truth (the brightest pixels), the others as test."""
    order = np.random.default_rng(0).permutation(len(tiles))
    rows = []
    for number, index in enumerate(order):
        name, part = f"{number:04d}", "train" if number < labelled else "test"
        (root / part / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiles[index]).save(root / part / "images" / f"{name}.png")
        if part == "train":
            rows.append(f"{name},{rle.encode((tiles[index] > 180).astype(np.uint8))}")
    (root / "train.csv").write_text("id,rle_mask\n" + "\n".join(rows) + "\n")
    names = [f"{number:04d}" for number in range(labelled, len(tiles))]
    (root / "sample_submission.csv").write_text("id,rle_mask\n" + "".join(f"{name},1 1\n" for name in names))
    return TgsConfig(root=str(root))


def test_folds_that_part_neighbours_say_so_and_those_that_do_not_are_silent(tmp_path: Path) -> None:
    config = tgs_of_tiles(tmp_path, tiles_of(range(30), 0.8), labelled=250)
    dataset = open_dataset(config)
    parted = divide(dataset, FoldsConfig(kind="stratified")).report
    assert any("clearly continue one in another fold" in line for line in parted.warnings())
    assert parted.neighbours["across"]["images"] > 50
    assert parted.resemblance["recommended"] in ("stratified", "adjacency")
    kept = divide(dataset, FoldsConfig(kind="adjacency")).report
    assert kept.neighbours["across"]["images"] == 0
    assert kept.mosaics["largest_chain_allowed"] == 10
    unseen = divide(dataset, FoldsConfig(kind="stratified", check_images=False)).report
    assert (unseen.neighbours, unseen.resemblance) == ({}, {})
    report, opened = check_dataset(config)
    assert report.resemblance["recommended"] == parted.resemblance["recommended"]
    write_dataset_page(tmp_path / "page.html", report, opened)
    text = (tmp_path / "page.html").read_text()
    assert "Does the test resemble the validation?" in text
    assert "continue a labelled image" in text
