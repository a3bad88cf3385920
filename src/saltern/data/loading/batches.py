"""Batches for training and for prediction, the same whatever the number of workers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saltern.config import AugmentConfig, DatasetConfig
from saltern.data.loading.augment import build_augment
from saltern.data.loading.cache import ImageSource, in_threads
from saltern.data.loading.geometry import Fit, pad_image, pad_mask, plan_fit, plan_pad, scale_image
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

    def to(self, device: torch.device | str, *, channels_last: bool = True) -> "Batch":
        """The batch on `device`; without `channels_last` the images are made contiguous as (B, 3, H, W)."""
        images = self.images.to(device, non_blocking=True)
        images = images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        return Batch(images, self.targets.to(device, non_blocking=True), self.rows)


@dataclass(frozen=True)
class EvalBatch:
    """Images of one network size, not augmented."""

    images: Tensor
    """uint8 (B, 3, H, W), RGB, in channels_last order."""
    rows: list[int]
    """Positions in the sample table."""
    fits: list[Fit]
    """How each image was brought to network size; `unfit_probs` undoes it."""


@dataclass(frozen=True)
class LoaderSettings:
    """How training batches are cut and by whom they are made."""

    stride: int
    """Network input sides are multiples of it."""
    batch_size: int
    workers: int = 0
    """Processes; 0 makes the batches in this process."""
    seed: int = 0
    rank: int = 0
    world_size: int = 1


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
        """Images uint8 (B, H, W, 3) and targets uint8 (B, H, W) of `key` = (epoch, rows)."""
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

    def sample(self, row: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and mask uint8 (H, W) of a row as the epoch's batch holds them."""
        random = np.random.default_rng([self._settings.seed, 1, epoch, row])
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


def random_crop(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], border: str, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A rectangle of `size` (height, width) at a random place; smaller images are padded to it first."""
    fit = plan_pad((mask.shape[0], mask.shape[1]), size, border)
    image, mask = pad_image(image, fit), pad_mask(mask, fit)
    top = int(random.integers(mask.shape[0] - size[0] + 1))
    left = int(random.integers(mask.shape[1] - size[1] + 1))
    part = np.s_[top : top + size[0], left : left + size[1]]
    return image[part], mask[part]


class TrainLoader:
    """Shuffled, augmented batches of one epoch after another; call `set_epoch` before iterating.

    The order depends on (seed, epoch), what is done to an image on (seed, epoch, row): any number of workers gives
    the same batches, and a resumed run goes on as if it had not stopped. A last batch of one image is left out (batch
    normalisation cannot train on it). All ranks get the same number of batches; the few images that cannot be divided
    evenly sit out the epoch, others in the next.
    """

    def __init__(self, maker: _Maker, rows: np.ndarray, settings: LoaderSettings) -> None:
        self._maker, self._rows, self._settings = maker, rows, settings
        self._epoch = 0
        share = len(rows) // settings.world_size
        self._ends = list(range(settings.batch_size, share + settings.batch_size, settings.batch_size))
        if share % settings.batch_size == 1:
            self._ends.pop()
        if not self._ends:
            raise DataError(
                f"{len(rows)} training images for {settings.world_size} process(es) in batches of "
                f"{settings.batch_size}: expected at least 2 for each. Use more images or fewer folds or processes."
            )
        self._workers: Workers | None = None

    def __len__(self) -> int:
        """Batches of an epoch, per rank."""
        return len(self._ends)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration delivers."""
        self._epoch = epoch

    def close(self) -> None:
        """End the worker processes, if any; they also end with the loader itself."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def keys(self) -> Iterator[Key]:
        """(epoch, rows) of every batch of the epoch, for this rank."""
        settings = self._settings
        order = np.random.default_rng([settings.seed, 0, self._epoch]).permutation(self._rows)
        mine = order[settings.rank :: settings.world_size][: len(self._rows) // settings.world_size]
        for end in self._ends:
            yield self._epoch, tuple(mine[end - settings.batch_size : end].tolist())

    def __iter__(self) -> Iterator[Batch]:
        keys = list(self.keys())
        if self._settings.workers:
            made = self._started().batches(keys)
        else:
            made = (_tensors(self._maker.batch(key)) for key in keys)
        for (_, rows), (images, targets) in zip(keys, made, strict=True):
            yield Batch(images.permute(0, 3, 1, 2), targets[:, None], torch.tensor(rows))

    def _started(self) -> Workers:
        """The workers, started at the first use and kept from epoch to epoch."""
        if self._workers is None:
            _, mask = self._maker.sample(int(self._rows[0]), 0)
            most = min(self._settings.batch_size, len(self._rows)) * mask.size * 4
            self._workers = Workers(self._maker.batch, self._settings.workers, most)
        return self._workers


def _tensors(arrays: Arrays) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1])


def train_loader(
    source: ImageSource,
    rows: Sequence[int] | np.ndarray,
    dataset: DatasetConfig,
    augment: AugmentConfig,
    settings: LoaderSettings,
) -> TrainLoader:
    """Training batches of `rows` (positions in the table that `source` was opened for).

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
    return TrainLoader(maker, positions, settings)


def eval_batches(
    source: ImageSource,
    rows: Sequence[int] | np.ndarray,
    dataset: DatasetConfig,
    *,
    stride: int,
    batch_size: int,
    share: tuple[int, int] = (0, 1),
) -> Iterator[EvalBatch]:
    """Every row once, whole images, grouped so that one batch has one network size; the next batch is made ahead.

    Args:
        source: The pixels.
        rows: Positions in its table.
        dataset: For the fit to network size.
        stride: Network input sides are multiples of it.
        batch_size: The most images in a batch.
        share: (rank, world size): this rank's rows only, without padding or duplicates, so perhaps none.
    """
    by_size: dict[tuple[int, int], list[tuple[int, Fit]]] = {}
    for row in list(rows)[share[0] :: share[1]]:
        fit = plan_fit(source.native[row], stride, dataset)
        by_size.setdefault(fit.padded, []).append((int(row), fit))
    groups = [
        members[start : start + batch_size]
        for _, members in sorted(by_size.items())
        for start in range(0, len(members), batch_size)
    ]
    with ThreadPoolExecutor(1) as ahead:
        pending = [ahead.submit(_eval_batch, source, group) for group in groups[:1]]
        for position in range(len(groups)):
            batch = pending.pop().result()
            if position + 1 < len(groups):
                pending.append(ahead.submit(_eval_batch, source, groups[position + 1]))
            yield batch


def _eval_batch(source: ImageSource, members: list[tuple[int, Fit]]) -> EvalBatch:
    def fitted(member: tuple[int, Fit]) -> np.ndarray:
        row, fit = member
        return pad_image(scale_image(source.image(row), fit.scaled), fit)

    images = [fitted(member) for member in members] if source.cached else in_threads(fitted, members)
    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return EvalBatch(stacked, [row for row, _ in members], [fit for _, fit in members])
