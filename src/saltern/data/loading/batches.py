"""Training batches, the same whatever the number of workers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from saltern.config import AugmentConfig, DatasetConfig
from saltern.data.loading.augment import build_augment
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.geometry import pad_image, pad_mask, plan_pad
from saltern.data.loading.sampling import drawn_order
from saltern.data.loading.threads import ahead
from saltern.data.loading.workers import Arrays, Key, Workers
from saltern.errors import DataError


@dataclass(frozen=True)
class Batch:
    """Training images at network size. The network normalises, so they stay uint8."""

    images: Tensor
    """uint8 (B, 3, H, W), RGB, in channels_last order."""
    targets: Tensor
    """uint8 (B, 1, H, W) in {0, 1, 255}."""
    rows: Tensor
    """int64 (B,), positions in the sample table."""
    ids: tuple[str, ...]
    """Of the B images."""


@dataclass(frozen=True)
class Share:
    """Which part of the images is this process's: that of `rank` among `world_size`."""

    rank: int = 0
    world_size: int = 1


@dataclass(frozen=True)
class LoaderSettings:
    """How training batches are cut and by whom they are made."""

    stride: int
    """Network input sides are multiples of it."""
    batch_size: int
    workers: int = 0
    """Processes; 0 makes the batches in a thread of this process."""
    seed: int = 0
    share: Share = field(default_factory=Share)
    pin: bool = False
    """Page-locked batches, whose transfer to a GPU runs beside its computation."""


class _Maker:
    """Makes the batch of a key: the same in this process and in a worker."""

    def __init__(
        self, source: ImageSource, dataset: DatasetConfig, augment: AugmentConfig, settings: LoaderSettings
    ) -> None:
        self._source, self._settings = source, settings
        self._augment = build_augment(augment)
        self._crop = None if dataset.train_crop is None else (dataset.train_crop[0], dataset.train_crop[1])
        self._border = dataset.pad

    def batch(self, key: Key) -> Arrays:
        """Images uint8 (B, H, W, 3) and targets uint8 (B, H, W) of `key` = (epoch, showings)."""
        epoch, rows = key
        pairs = [self.sample(row, epoch) for row in rows]
        sizes = sorted({mask.shape for _, mask in pairs})
        if len(sizes) > 1:
            shown = " and ".join(f"{height} x {width}" for height, width in sizes[:2])
            raise DataError(
                f"training images of different sizes ({shown}) cannot share a batch; set "
                "dataset.train_crop=[height,width] for random crops, or dataset.resize=[height,width]."
            )
        return np.stack([image for image, _ in pairs]), np.stack([mask for _, mask in pairs])

    def rows(self, showings: Sequence[int]) -> list[int]:
        """The rows that the `showings` of an epoch show; see `drawn_order`."""
        return [showing % len(self._source.samples) for showing in showings]

    def ids(self, rows: Sequence[int]) -> tuple[str, ...]:
        """The ids of `rows`."""
        return tuple(self._source.samples[row].id for row in rows)

    def order(self, rows: np.ndarray, epoch: int, sampling: float | None) -> np.ndarray:
        """The showings of an epoch, int64 (N,), of all ranks together: each of `rows` (N,) once, or drawn by kind."""
        random = np.random.default_rng([self._settings.seed, 0, epoch])
        if sampling is None:
            return random.permutation(rows)
        return drawn_order(rows, self._source.empty[rows], sampling, len(self._source.samples), random)

    def sample(self, showing: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and mask uint8 (H, W) of a row as the epoch's batch holds them when it shows it."""
        random = generator(self._settings.seed, epoch, showing)
        row = showing % len(self._source.samples)
        image, mask = self._augment(self._source.image(row), self._source.mask(row), random)
        if self._crop is not None:
            image, mask = random_crop(image, mask, self._crop, self._border, random)
        stride = self._settings.stride
        height, width = mask.shape
        fit = plan_pad((height, width), (-(-height // stride) * stride, -(-width // stride) * stride), self._border)
        return pad_image(image, fit), pad_mask(mask, fit)


def sample_maker(
    source: ImageSource, dataset: DatasetConfig, augment: AugmentConfig, settings: LoaderSettings
) -> Callable[[int, int], tuple[np.ndarray, np.ndarray]]:
    """A function (row, epoch) → image uint8 (H, W, 3) and mask uint8 (H, W) exactly as training batches hold them.

    Raises:
        ConfigError: an augmentation that cannot be built.
    """
    return _Maker(source, dataset, augment, settings).sample


def batch_maker(
    source: ImageSource, dataset: DatasetConfig, augment: AugmentConfig, settings: LoaderSettings
) -> Callable[[Key], Arrays]:
    """A function (epoch, rows) → images uint8 (B, H, W, 3) and targets uint8 (B, H, W) exactly as training has them.

    Raises:
        ConfigError: an augmentation that cannot be built.
    """
    return _Maker(source, dataset, augment, settings).batch


def generator(seed: int, epoch: int, showing: int) -> np.random.Generator:
    """Of all that is drawn for one showing of an image in one epoch: its augmentation first, then its crop."""
    return np.random.default_rng([seed, 1, epoch, showing])


def corner(whole: tuple[int, int], size: tuple[int, int], random: np.random.Generator) -> tuple[int, int]:
    """Top and left of a random rectangle of `size` in an image of `whole` size; both (height, width)."""
    top = int(random.integers(whole[0] - size[0] + 1))
    return top, int(random.integers(whole[1] - size[1] + 1))


def random_crop(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], border: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle of `size` (height, width) at a random place; smaller images are padded to it first."""
    fit = plan_pad((mask.shape[0], mask.shape[1]), size, border)
    image, mask = pad_image(image, fit), pad_mask(mask, fit)
    top, left = corner((mask.shape[0], mask.shape[1]), size, random)
    part = np.s_[top : top + size[0], left : left + size[1]]
    return image[part], mask[part]


BatchesOf = Callable[[Sequence[Key]], Iterator[tuple[Tensor, Tensor]]]
"""Keys → the batch of each: images uint8 (B, H, W, 3), targets uint8 (B, H, W)."""


class TrainLoader:
    """Shuffled, augmented batches of one epoch after another; call `set_epoch` before iterating.

    The order depends on (seed, epoch) and the epoch's share of empty images, what is done to an image on (seed,
    epoch, row): any number of workers gives the same batches, and a resumed run goes on as if it had not stopped. With
    a share, rows may be shown again, each time augmented anew (`drawn_order`), while others sit out. A last batch of
    one image is left out (batch normalisation cannot train on it). All ranks get the same number of batches; the few
    images that cannot be divided evenly sit out the epoch, others in the next.
    """

    def __init__(
        self, maker: _Maker, rows: np.ndarray, settings: LoaderSettings, make: BatchesOf | None = None
    ) -> None:
        self._maker, self._rows, self._settings, self._make = maker, rows, settings, make
        self._epoch = 0
        self._sampling: float | None = None
        share = len(rows) // settings.share.world_size
        self._ends = list(range(settings.batch_size, share + settings.batch_size, settings.batch_size))
        if share % settings.batch_size == 1:
            self._ends.pop()
        self.sizes = [min(settings.batch_size, share - end + settings.batch_size) for end in self._ends]
        """Images of each batch of an epoch, the same on every rank."""
        if not self._ends:
            raise DataError(
                f"{len(rows)} training images for {settings.share.world_size} process(es) in batches of "
                f"{settings.batch_size}: expected at least 2 for each. Use more images or fewer folds or processes."
            )
        self._workers: Workers | None = None

    def __len__(self) -> int:
        """Batches of an epoch, per rank."""
        return len(self._ends)

    def set_epoch(self, epoch: int, sampling: float | None = None) -> None:
        """Choose the epoch that the next iteration delivers, and the share of empty images in it; None: as they are."""
        self._epoch, self._sampling = epoch, sampling

    def close(self) -> None:
        """End the worker processes, if any; they also end with the loader itself."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def keys(self) -> Iterator[Key]:
        """(epoch, showings) of every batch of the epoch, for this rank; a row that is shown once is its showing."""
        settings, share = self._settings, self._settings.share
        order = self._maker.order(self._rows, self._epoch, self._sampling)
        mine = order[share.rank :: share.world_size][: len(self._rows) // share.world_size]
        for end in self._ends:
            yield self._epoch, tuple(mine[end - settings.batch_size : end].tolist())

    def __iter__(self) -> Iterator[Batch]:
        keys = list(self.keys())
        made = self._made(keys)
        for (_, showings), (images, targets) in zip(keys, made, strict=True):
            rows = self._maker.rows(showings)
            yield Batch(images.permute(0, 3, 1, 2), targets[:, None], torch.tensor(rows), self._maker.ids(rows))

    def _made(self, keys: list[Key]) -> Iterator[tuple[Tensor, Tensor]]:
        if self._make is not None:
            return self._make(keys)
        return self._started().batches(keys) if self._settings.workers else ahead(self._tensors, keys)

    def _started(self) -> Workers:
        """The workers, started at the first use and kept from epoch to epoch."""
        if self._workers is None:
            _, mask = self._maker.sample(int(self._rows[0]), 0)
            most = min(self._settings.batch_size, len(self._rows)) * mask.size * 4
            self._workers = Workers(self._maker.batch, self._settings.workers, most, pin=self._settings.pin)
        return self._workers

    def _tensors(self, key: Key) -> tuple[Tensor, Tensor]:
        images, targets = (pinned(torch.from_numpy(array), self._settings.pin) for array in self._maker.batch(key))
        return images, targets


def pinned(tensor: Tensor, pin: bool) -> Tensor:
    """`tensor`, page-locked where `pin` says so."""
    return tensor.pin_memory() if pin else tensor


def train_loader(
    source: ImageSource,
    rows: Sequence[int] | np.ndarray,
    dataset: DatasetConfig,
    augment: AugmentConfig,
    settings: LoaderSettings,
    make: BatchesOf | None = None,
) -> TrainLoader:
    """Training batches of `rows` (positions in the table that `source` was opened for).

    `make` makes them in another place than this process and its workers, such as `on_device.DeviceBatches`.

    Raises:
        ConfigError: an augmentation that cannot be built.
        DataError: too few images, images without truth, or images of different sizes and no `train_crop`.
    """
    positions = np.asarray(rows, dtype=np.int64)
    blind = [source.samples[row].id for row in positions if not source.samples[row].labelled]
    if blind:
        raise DataError(f"no mask is known for {len(blind)} of the training images, the first is {blind[0]!r}.")
    maker = _Maker(source, dataset, augment, settings)
    first_of_size = {source.scaled[row]: int(row) for row in reversed(positions)}
    maker.batch((0, tuple(first_of_size.values())[-8:]))  # refuses different sizes now, not in the middle of an epoch
    return TrainLoader(maker, positions, settings, make)
