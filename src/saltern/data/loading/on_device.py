"""A data set kept on the device, where training batches are then cut and augmented (`dataset.cache=device`).

Of an epoch nothing but a few numbers for each image passes from the host to the device. They are drawn by the same
library from the same generator of (seed, epoch, row), in the same order, as in `data.loading.batches`: crops, padding,
flips, brightness and contrast give the same bits as there, warps almost (see `data.loading.warp`).
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saltern.config import AugmentConfig, DatasetConfig
from saltern.data.loading.augment import build_augment
from saltern.data.loading.batches import LoaderSettings, corner, generator
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.geometry import BORDERS, plan_pad
from saltern.data.loading.threads import ahead
from saltern.data.loading.warp import build_transforms, inside, taken
from saltern.data.loading.workers import Key
from saltern.data.source.masks import VOID
from saltern.errors import DataError
from saltern.runtime.memory import Memory

_LOG = logging.getLogger(__name__)
_CHUNK = 64
"""Images that go to the device at a time."""


@dataclass(frozen=True)
class DeviceImages:
    """Every image of a table and its truth, of one size, on one device."""

    images: Tensor
    """uint8 (N, 3, H, W), RGB, in channels_last order, by row."""
    masks: Tensor
    """uint8 (N, H, W) in {0, 1, 255}, by row."""

    @classmethod
    def of(cls, source: ImageSource, device: torch.device) -> "DeviceImages":
        """All rows of `source`, scaled as its config asks, on `device`.

        Raises:
            DataError: images of different sizes, or more of them than the device has free memory for.
        """
        height, width = _one_size(source)
        _require_room(len(source) * height * width * 4, device)
        images = torch.empty(len(source), height, width, 3, dtype=torch.uint8, device=device)
        masks = torch.empty(len(source), height, width, dtype=torch.uint8, device=device)
        for start in range(0, len(source), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(source)))
            images[start : rows.stop].copy_(torch.from_numpy(np.stack([source.image(row) for row in rows])))
            masks[start : rows.stop].copy_(torch.from_numpy(np.stack([source.mask(row) for row in rows])))
        return cls(images.permute(0, 3, 1, 2), masks)


def _one_size(source: ImageSource) -> tuple[int, int]:
    first = source.scaled[0]
    for row, size in enumerate(source.scaled):
        if size != first:
            (height, width), (other, across) = first, size
            raise DataError(
                f"dataset.cache=device: expected images of one size; {source.samples[0].id!r} is {height} x {width} "
                f"and {source.samples[row].id!r} is {other} x {across}. Set dataset.resize=[height,width], or "
                "dataset.cache=auto."
            )
    return first


def _require_room(needed: int, device: torch.device) -> None:
    free = free_bytes(device)
    if free is None:
        _LOG.warning("this system does not tell its free memory: dataset.cache=device takes %d MiB", needed >> 20)
    elif needed > free:
        raise DataError(
            f"dataset.cache=device: the images take {-(-needed // (1 << 20))} MiB, and {device} has {free >> 20} MiB "
            "free; expected room for them, and more for training. Set dataset.cache=auto, or "
            "dataset.resize=[height,width] to smaller images."
        )


def free_bytes(device: torch.device) -> int | None:
    """Memory that could be had on `device` now, in bytes; None where a system does not tell it."""
    memory = Memory.of(device)
    return memory.free if memory.total else None


@dataclass(frozen=True)
class _Plan:
    """What is done to the images of one batch; all on the host."""

    rows: Tensor
    transforms: list[Tensor]
    y: Tensor
    """Which row of the augmented image each row of the batch shows, int64 (B, H, 1); -1 beyond it."""
    x: Tensor
    """The same for columns, int64 (B, 1, W)."""


class DeviceBatches:
    """Makes the batches of keys from what the device holds; the draws of the next one are made meanwhile."""

    def __init__(
        self, held: DeviceImages, dataset: DatasetConfig, augment: AugmentConfig, settings: LoaderSettings
    ) -> None:
        """See `train_loader`, to which these are given.

        Raises:
            ConfigError: an augmentation that cannot be built, or not be done on the device.
        """
        self._images, self._masks = held.images.permute(0, 2, 3, 1), held.masks
        self._settings, self._border = settings, dataset.pad
        self._augment = build_augment(augment)
        self._transforms = build_transforms(self._augment.transforms)
        height, width = held.masks.shape[1:]
        self._size = (height, width)
        self._crop = None if dataset.train_crop is None else (dataset.train_crop[0], dataset.train_crop[1])

    def __call__(self, keys: Sequence[Key]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images uint8 (B, H, W, 3) and targets uint8 (B, H, W) of every key = (epoch, showings), on the device."""
        for plan in ahead(self._plan, keys):
            yield self._made(plan)

    def _made(self, plan: _Plan) -> tuple[Tensor, Tensor]:
        device = self._images.device
        rows, y, x = (part.to(device, non_blocking=True) for part in (plan.rows, plan.y, plan.x))
        images, targets = self._images[rows], self._masks[rows]
        for transform, numbers in zip(self._transforms, plan.transforms, strict=True):
            images, targets = transform.apply(images, targets, numbers.to(device, non_blocking=True))
        constant = BORDERS["constant"]  # y and x know the border already: what they leave open is outside
        return taken(images, y, x, constant, 0), taken(targets, y, x, constant, VOID)

    def _plan(self, key: Key) -> _Plan:
        epoch, showings = key
        drawn, corners = [], []
        whole = self._size if self._crop is None else plan_pad(self._size, self._crop, self._border).padded
        for showing in showings:
            random = generator(self._settings.seed, epoch, showing)
            drawn.append(self._augment.draw(self._size, random))
            corners.append((0, 0) if self._crop is None else corner(whole, self._crop, random))
        plans = [
            torch.from_numpy(transform.plan([of_row[number] for of_row in drawn]))
            for number, transform in enumerate(self._transforms)
        ]
        starts = torch.tensor(corners)
        rows = torch.tensor(showings) % len(self._masks)
        return _Plan(rows, plans, self._shown(0, starts[:, 0])[:, :, None], self._shown(1, starts[:, 1])[:, None])

    def _shown(self, axis: int, starts: Tensor) -> Tensor:
        """Places of the augmented image that a batch shows along `axis`, int64 (B, side): padded, cut, padded."""
        side, stride = self._size[axis], self._settings.stride
        if self._crop is None:
            cut = torch.arange(side).expand(len(starts), side)
        else:
            wide = self._padded(side, self._crop[axis])
            cut = wide[starts[:, None] + torch.arange(self._crop[axis])]
        last = self._padded(cut.shape[1], -(-cut.shape[1] // stride) * stride)
        return torch.where(last < 0, -1, cut[:, last.clamp(0)])

    def _padded(self, side: int, least: int) -> Tensor:
        """Places along one axis after it was padded to at least `least`, int64; -1 where the border is constant."""
        before = plan_pad((side, side), (least, least), self._border).top
        return inside(torch.arange(max(side, least)) - before, side, BORDERS[self._border])
