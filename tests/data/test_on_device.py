"""Batches that the device cuts and augments are those that the host makes."""

import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from saltern.config import AugmentConfig, ConfigError, DatasetConfig, TrainerConfig, TransformConfig, compose_config
from saltern.config.choices import DEVICE_TRANSFORMS
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading import on_device, warp
from saltern.data.loading.batches import Batch, LoaderSettings, Share, TrainLoader, train_loader
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.on_device import DeviceBatches, DeviceImages, free_bytes
from saltern.data.material import Loading, Material
from saltern.errors import DataError

CPU = torch.device("cpu")
N = 11


class Drawn(ImageSource):
    """Eleven smooth pictures of 37 x 29 with masks of all three values, without files."""

    def __init__(self, size: tuple[int, int] = (37, 29), odd_one: tuple[int, int] | None = None) -> None:
        self.samples = [type("Sample", (), {"labelled": True, "id": f"image{row}"}) for row in range(N)]  # type: ignore[misc]
        self.native = self.scaled = [size] * (N - 1) + [odd_one or size]
        random = np.random.default_rng(5)
        noise = [random.integers(0, 256, (*item, 3), np.uint8) for item in self.scaled]
        self.images = [cv2.GaussianBlur(item, (0, 0), 1.5) if min(size) > 9 else item for item in noise]
        self.masks = [np.choose(item[..., 0] % 3, [0, 1, 255]).astype(np.uint8) for item in self.images]

    def image(self, row: int) -> np.ndarray:
        return self.images[row]

    def mask(self, row: int) -> np.ndarray:
        return self.masks[row]


def augment(*transforms: tuple[str, dict]) -> AugmentConfig:
    return AugmentConfig(transforms=[TransformConfig(name=name, args=args) for name, args in transforms])


def config(pad: str = "reflect", train_crop: list[int] | None = None) -> DatasetConfig:
    return DatasetConfig(layout="tgs", root=".", pad=pad, train_crop=train_crop, cache="device")


def both(
    source: ImageSource, dataset: DatasetConfig, lively: AugmentConfig, settings: LoaderSettings
) -> tuple[TrainLoader, TrainLoader]:
    """The host's loader and the device's."""
    make = DeviceBatches(DeviceImages.of(source, CPU), dataset, lively, settings)
    return (
        train_loader(source, range(N), dataset, lively, settings),
        train_loader(source, range(N), dataset, lively, settings, make),
    )


def pairs(host: TrainLoader, device: TrainLoader, epochs: int = 4) -> list[tuple[Batch, Batch]]:
    found = []
    for epoch in range(epochs):
        host.set_epoch(epoch)
        device.set_epoch(epoch)
        found += list(zip(host, device, strict=True))
    assert len(found) >= 2 * epochs
    return found


FLIPS = [("HorizontalFlip", {"p": 0.5}), ("VerticalFlip", {"p": 0.3})]
LEVELS = [("RandomBrightnessContrast", {"brightness_limit": 0.4, "contrast_limit": 0.3, "p": 0.7})]


@pytest.mark.parametrize("pad", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("crop", [None, [16, 24], [32, 32], [50, 20], [90, 70]])
@pytest.mark.parametrize("transforms", [[], FLIPS, [*LEVELS, *FLIPS]])
def test_pads_crops_flips_and_levels_are_the_hosts_bit_for_bit(
    pad: str, crop: list[int] | None, transforms: list
) -> None:
    settings = LoaderSettings(stride=32, batch_size=4, seed=7)
    for host, device in pairs(*both(Drawn(), config(pad, crop), augment(*transforms), settings)):
        assert host.ids == device.ids
        assert torch.equal(host.rows, device.rows)
        assert host.images.shape == device.images.shape
        assert torch.equal(host.images, device.images)
        assert torch.equal(host.targets, device.targets)
        assert device.images.is_contiguous(memory_format=torch.channels_last)


def test_images_shown_again_are_augmented_anew_as_on_the_host() -> None:
    """With a share of empty images that asks for repeats, a key names showings, not rows."""
    source = Drawn()
    source.empty = np.arange(N) < N - 2
    settings = LoaderSettings(stride=32, batch_size=4, seed=7)
    host, device = both(source, config(), augment(*FLIPS, *LEVELS), settings)
    host.set_epoch(1, 0.2)
    device.set_epoch(1, 0.2)
    showings = [showing for _, part in list(TrainLoader.keys(host)) for showing in part]
    assert max(showings) >= N, "nothing is shown twice, so nothing is tested"
    for one, other in zip(host, device, strict=True):
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3)])
@pytest.mark.parametrize("pad", ["reflect", "edge", "constant"])
def test_padding_goes_on_where_it_exceeds_the_side(size: tuple[int, int], pad: str) -> None:
    settings = LoaderSettings(stride=32, batch_size=4)
    for host, device in pairs(*both(Drawn(size), config(pad, [7, 9]), augment(*FLIPS), settings), epochs=2):
        assert torch.equal(host.images, device.images)
        assert torch.equal(host.targets, device.targets)


WARPS = [
    (
        "Affine",
        {"scale": [0.7, 1.4], "translate_percent": [-0.2, 0.2], "rotate": [-40, 40], "shear": [-9, 9], "p": 0.8},
    ),
    ("ShiftScaleRotate", {"p": 1.0, "rotate_limit": 180, "shift_limit": 0.3}),
]


@pytest.mark.parametrize("transform", WARPS)
@pytest.mark.parametrize("border", [0, 1, 2, 3, 4])
def test_warps_are_the_librarys_but_for_rounding(transform: tuple[str, dict], border: int) -> None:
    fill = {"fill": [200, 100, 0]} if border == 0 else {}
    lively = augment((transform[0], transform[1] | {"border_mode": border} | fill), *FLIPS)
    settings = LoaderSettings(stride=1, batch_size=4, seed=3)
    found = pairs(*both(Drawn(), config(), lively, settings))
    images = np.concatenate([(a.images.int() - b.images.int()).abs().numpy().ravel() for a, b in found])
    moved = np.concatenate([(a.targets != b.targets).numpy().ravel() for a, b in found])
    assert images.mean() < 0.25, "OpenCV 4 rounds places to 1/32 of a pixel; a wrong matrix gives more than 10"
    assert moved.mean() < 0.01
    assert {int(value) for _, batch in found for value in batch.targets.unique()} == {0, 1, 255}


def test_a_warp_by_whole_pixels_moves_them_exactly() -> None:
    lively = augment(("Affine", {"translate_px": {"x": [3, 3], "y": [-2, -2]}, "p": 1.0}))
    source = Drawn()
    _, device = both(source, config(), lively, LoaderSettings(stride=1, batch_size=4))
    for batch in device:
        for image, target, row in zip(batch.images, batch.targets[:, 0], batch.rows.tolist(), strict=True):
            np.testing.assert_array_equal(image.permute(1, 2, 0)[:-2, 3:], source.images[row][2:, :-3])
            np.testing.assert_array_equal(target[:-2, 3:], source.masks[row][2:, :-3])
            assert (target[-2:] == 255).all(), "what a warp invents is void"
            assert (target[:, :3] == 255).all(), "what a warp invents is void"
            assert (image[:, -2:] == 0).all()


@pytest.mark.parametrize("border", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("side", [1, 2, 5])
def test_places_beyond_the_image_follow_opencv(border: int, side: int) -> None:
    places = list(range(-2 * side, 3 * side))
    expected = [cv2.borderInterpolate(place, side, border) for place in places]
    assert warp.inside(torch.tensor(places), side, border).tolist() == expected


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_however_the_ranks_are() -> None:
    lively = augment(WARPS[0], *LEVELS, *FLIPS)
    _, straight = both(Drawn(), config(), lively, LoaderSettings(32, 4, seed=1))
    _, resumed = both(Drawn(), config(), lively, LoaderSettings(32, 4, seed=1))
    list(straight)
    for loader in (straight, resumed):
        loader.set_epoch(3)
    by_row = {}
    for first, second in zip(straight, resumed, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)
        by_row |= dict(zip(first.rows.tolist(), first.images, strict=True))
    seen = 0
    for rank in range(2):
        _, mine = both(Drawn(), config(), lively, LoaderSettings(32, 4, seed=1, share=Share(rank, 2)))
        mine.set_epoch(3)
        for batch in mine:
            for row, image in zip(batch.rows.tolist(), batch.images, strict=True):
                if row in by_row:
                    assert torch.equal(image, by_row[row])
                    seen += 1
    assert seen >= 8


@pytest.mark.gpu
def test_a_gpu_gives_the_batches_of_the_cpu() -> None:
    lively = augment(WARPS[0], *LEVELS, *FLIPS)
    settings = LoaderSettings(stride=32, batch_size=4, seed=2)
    _, on_cpu = both(Drawn(), config("constant", [40, 20]), lively, settings)
    cuda = torch.device("cuda", 0)
    make = DeviceBatches(DeviceImages.of(Drawn(), cuda), config("constant", [40, 20]), lively, settings)
    on_gpu = train_loader(Drawn(), range(N), config("constant", [40, 20]), lively, settings, make)
    for first, second in pairs(on_cpu, on_gpu):
        assert second.images.device == second.targets.device == cuda
        assert (first.images.int() - second.images.cpu().int()).abs().max() <= 1
        assert (first.targets != second.targets.cpu()).float().mean() < 0.001


def test_images_of_two_sizes_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'image0' is 37 x 29 and 'image10' is 37 x 30\. Set dataset\.resize"):
        DeviceImages.of(Drawn(odd_one=(37, 30)), CPU)


def test_images_that_do_not_fit_are_refused_with_both_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "free_bytes", lambda device: (3 << 20) + 5)
    source = Drawn((300, 300))
    with pytest.raises(DataError, match=r"images take 4 MiB, and cpu has 3 MiB free"):
        DeviceImages.of(source, CPU)
    monkeypatch.setattr(on_device, "free_bytes", lambda device: N * 300 * 300 * 4)
    assert DeviceImages.of(source, CPU).images.shape == (N, 3, 300, 300)


def test_a_system_that_does_not_tell_its_memory_is_warned_about(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(on_device, "free_bytes", lambda device: None)
    with caplog.at_level(logging.WARNING):
        DeviceImages.of(Drawn(), CPU)
    assert "does not tell its free memory" in caplog.text


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="needs Linux")
def test_free_memory_is_less_than_all_of_it() -> None:
    words = Path("/proc/meminfo").read_text().split()
    free = free_bytes(CPU)
    assert free is not None
    assert 1 << 20 < free <= int(words[words.index("MemTotal:") + 1]) * 1024


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["augment=voc"], "augment.transforms[0].name='RandomScale': expected one of HorizontalFlip, VerticalFlip"),
        (["augment=strong"], "augment.transforms[2].name='OneOf'"),
        (["trainer.workers=1"], "trainer.workers=1: expected 0 where dataset.cache=device"),
    ],
)
def test_what_the_device_cannot_do_is_refused_before_torch(overrides: list[str], expected: str) -> None:
    compose_config("run", overrides)
    with pytest.raises(ConfigError) as caught:
        compose_config("run", [*overrides, "dataset.cache=device"])
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Affine", {"interpolation": 2}),
        ("Affine", {"fit_output": True}),
        ("ShiftScaleRotate", {"interpolation": 0}),
        ("RandomBrightnessContrast", {"brightness_by_max": False}),
    ],
)
def test_an_argument_that_the_device_cannot_follow_is_refused(name: str, args: dict) -> None:
    held = DeviceImages.of(Drawn(), CPU)
    with pytest.raises(
        ConfigError, match=rf"augment\.transforms\[0\]\.args\.{next(iter(args))}=.*dataset\.cache=device"
    ):
        DeviceBatches(held, config(), augment((name, args)), LoaderSettings(32, 4))


def test_the_names_in_choices_are_those_of_the_builder() -> None:
    assert set(DEVICE_TRANSFORMS) == set(warp.TRANSFORMS)
    with pytest.raises(ConfigError, match=r"augment\.transforms\[0\]\.name='Blur'.*HorizontalFlip"):
        DeviceBatches(DeviceImages.of(Drawn(), CPU), config(), augment(("Blur", {})), LoaderSettings(32, 4))


def test_material_trains_from_the_device_where_the_config_says_so(tmp_path: Path) -> None:
    run = compose_config(
        "run", [f"dataset.root={tmp_path}/sample", "dataset.train=12", "dataset.test=2", "dataset.side=32"]
    )
    open_dataset(run.dataset)
    loading = Loading.of(TrainerConfig(batch_size=4), Share(), CPU)
    seen = []
    for cache in ("memory", "device"):
        dataset = replace(run.dataset, cache=cache)
        material = Material(dataset, run.augment)
        loader = material.train_batches(list(range(12)), loading, 32, 0)
        again = material.train_batches(list(range(6)), loading, 32, 0)
        assert [len(batch.rows) for batch in again] == [4, 2]
        seen.append(list(loader))
        held = material._on_device
        assert (held is not None) == (cache == "device")
    for first, second in zip(*seen, strict=True):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)
