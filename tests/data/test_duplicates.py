"""Duplicates: the same pixels, nearly the same pixels, and nothing else."""

import tracemalloc
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse.csgraph import connected_components

from saltern.data.likeness.duplicates import NEAR_BITS, NEAR_CORRELATION, exact_clusters, near_clusters
from saltern.data.likeness.fingerprints import Fingerprint, read_all
from saltern.progress import Progress


def picture(seed: int, side: int = 64) -> np.ndarray:
    smooth = gaussian_filter(default_rng(seed).standard_normal((side, side)), 2)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def prints_of(images: list[np.ndarray]) -> list[Fingerprint]:
    return [Fingerprint.of(image) for image in images]


def test_equal_pixels_share_a_digest_however_they_are_stored() -> None:
    grey = picture(0)
    rgb = np.repeat(grey[:, :, None], 3, axis=2)
    other = rgb.copy()
    other[3, 3, 2] ^= 1
    transposed = picture(0, 64).reshape(32, 128)
    labels = exact_clusters(prints_of([grey, rgb, other, transposed, rgb[:, ::-1], grey.copy()]))
    assert labels.tolist() == [0, 0, 1, 2, 3, 0]


def test_noise_brightness_size_and_jpeg_leave_near_duplicates_near() -> None:
    original = picture(1)
    noisy = np.clip(original + default_rng(0).normal(0, 3, original.shape), 0, 255).astype(np.uint8)
    brighter = (original * 0.8 + 40).astype(np.uint8)
    larger = np.asarray(Image.fromarray(original).resize((96, 96), Image.Resampling.BILINEAR))
    strangers = [picture(seed) for seed in range(2, 60)]
    labels = near_clusters(prints_of([original, noisy, brighter, larger, *strangers]))
    assert len(set(labels[:4])) == 1
    assert len(set(labels)) == 1 + len(strangers)


def test_every_pair_is_compared() -> None:
    images = [picture(seed, 33) for seed in range(1100)] + [picture(0, 33), picture(700, 33)]
    assert near_clusters(prints_of(images)).tolist() == [*range(1100), 0, 700]


def test_clusters_are_those_of_all_pairs() -> None:
    """Families of noisy copies, so noisy that some correlate too little; joined by brute force for comparison."""
    random = default_rng(4)
    images = [picture(index % 12, 40) for index in range(150)]
    noises = [random.normal(0, random.uniform(0, 16), one.shape) for one in images]
    noisy = [np.clip(one + noise, 0, 255).astype(np.uint8) for one, noise in zip(images, noises, strict=True)]
    prints = prints_of(noisy)
    graph = np.eye(len(prints), dtype=bool)
    for first, second in combinations(range(len(prints)), 2):
        bits = (prints[first].phash ^ prints[second].phash).bit_count()
        alike = np.corrcoef(prints[first].thumb.ravel(), prints[second].thumb.ravel())[0, 1]
        graph[first, second] = bits <= NEAR_BITS and alike >= NEAR_CORRELATION
    count, expected = connected_components(graph, directed=False)
    assert 12 < count < 150
    assert near_clusters(prints).tolist() == expected.tolist()


def test_work_in_vain_is_bounded_and_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Alike by their hashes, and different on a second look."""
    prints = [replace(item, phash=7) for item in prints_of([picture(seed, 33) for seed in range(200)])]
    assert near_clusters(prints).tolist() == list(range(200))
    assert not caplog.records
    monkeypatch.setattr("saltern.data.likeness.duplicates.FRUITLESS", 64)
    near_clusters(prints)
    assert "were not compared further, so near-duplicates of theirs may be missed" in caplog.text


def test_look_alikes_in_great_number_take_little_memory() -> None:
    """Frames of a fixed camera: 400 images make 79,800 pairs, whose thumbnails side by side would fill 650 MB."""
    scene, noise = picture(0), np.random.default_rng(0)
    frames = [np.clip(scene + noise.normal(0, 2, scene.shape), 0, 255).astype(np.uint8) for _ in range(400)]
    prints = prints_of([*frames, picture(1)])
    tracemalloc.start()
    labels = near_clusters(prints)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(labels[:400])) == 1
    assert labels[400] != labels[0]
    assert peak < 300e6


def test_constant_images_are_exact_duplicates_or_nothing() -> None:
    images = [np.full((20, 20), value, np.uint8) for value in (0, 0, 90, 255)]
    assert near_clusters(prints_of(images)).tolist() == [0, 0, 1, 2]
    assert all(item.constant for item in prints_of(images))


def test_images_of_one_pixel_have_fingerprints() -> None:
    item = Fingerprint.of(np.full((1, 1, 3), 7, np.uint8))
    assert item.edges["left"].shape == (1, 1)
    assert (item.lowest, item.highest, item.size) == (7, 7, (1, 1))


def test_edges_run_from_the_border_inwards() -> None:
    image = np.arange(30, dtype=np.uint8).reshape(5, 6)
    edges = Fingerprint.of(image).edges
    assert edges["right"].tolist() == [[5, 11, 17, 23, 29], [4, 10, 16, 22, 28], [3, 9, 15, 21, 27]]
    assert edges["left"][0].tolist() == [0, 6, 12, 18, 24]
    assert edges["top"][1].tolist() == list(range(6, 12))
    assert edges["bottom"][0].tolist() == list(range(24, 30))
    assert edges["bottom"][2].tolist() == list(range(12, 18))


class Told(Progress):
    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, label: str, total: int) -> None:
        self.said.append((label, total))

    def advance(self, amount: int, **values: float) -> None:
        self.said.append(amount)

    def end(self) -> None:
        self.said.append("end")


def test_reading_keeps_the_order_and_tells_the_progress() -> None:
    told = Told()
    assert read_all(range(50), lambda number: number * number, told, "squares") == [n * n for n in range(50)]
    assert told.said == [("squares", 50), *[1] * 50, "end"]
