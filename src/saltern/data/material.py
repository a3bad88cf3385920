"""The images of a run: tables, pixels, batches. It knows settings and its share of them, but no run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from saltern.config import AUTO, AugmentConfig, DatasetConfig, TrainerConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import LoaderSettings, Share, TrainLoader, sample_maker, train_loader
from saltern.data.loading.cache import ImageSource, open_source
from saltern.data.loading.evaluation import EvalBatch, eval_batches, seen_sizes, sizes_vary
from saltern.data.loading.on_device import DeviceBatches, DeviceImages
from saltern.data.source.dataset import Dataset, Sample, samples_of
from saltern.data.source.truths import Hashes, hash_file, hash_truth


@dataclass(frozen=True)
class Loading:
    """How batches are cut, for which part of the images, and for which device."""

    batch_size: int
    eval_batch_size: int
    workers: int = 0
    share: Share = field(default_factory=Share)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the process computes, and keeps its images where `dataset.cache=device`."""

    @property
    def pin(self) -> bool:
        """Whether batches are page-locked: for a GPU."""
        return self.device.type == "cuda"

    @classmethod
    def of(cls, trainer: TrainerConfig, share: Share, device: torch.device) -> "Loading":
        """What `trainer` says, for one process's share and device, once its batch size is a number."""
        assert trainer.batch_size != AUTO, "a batch size that is still to be found"
        return cls(trainer.batch_size, trainer.eval_batch_size, trainer.workers, share, device)

    def evaluating(self, stride: int) -> LoaderSettings:
        """Settings for whole images."""
        return LoaderSettings(stride=stride, batch_size=self.eval_batch_size, share=self.share, pin=self.pin)

    def training(self, stride: int, seed: int) -> LoaderSettings:
        """Settings for training batches."""
        return LoaderSettings(stride, self.batch_size, self.workers, seed, self.share, self.pin)


class Material:
    """A data set, opened when it is first asked for, and what networks are fed of it."""

    def __init__(self, dataset: DatasetConfig, augment: AugmentConfig, processes: int = 1) -> None:
        """`processes`: how many of this machine read the same images, and so share one cache."""
        self._config = dataset
        self._augment = augment
        self._shared = processes > 1
        self._on_device: DeviceImages | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, every file of it opened once."""
        return open_dataset(self._config)

    @cached_property
    def labelled(self) -> ImageSource:
        """Pixels of the labelled images."""
        return open_source(self.dataset, self.dataset.train, self._config, shared=self._shared)

    @cached_property
    def test(self) -> ImageSource:
        """Pixels of the test images, decoded when they are asked for: each is seen once."""
        return ImageSource(self.dataset, self.dataset.test, self._config)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Id of a labelled image → its row."""
        return {name: row for row, name in enumerate(self.dataset.train["id"])}

    @cached_property
    def coverage(self) -> dict[str, float]:
        """Id of a labelled image → share of foreground among its valid pixels."""
        return dict(zip(self.dataset.train["id"], self.dataset.train["coverage"], strict=True))

    @cached_property
    def _samples(self) -> list[Sample]:
        """The labelled images by row, without decoding any."""
        return samples_of(self.dataset.train)

    def rows(self, ids: Iterable[str]) -> list[int]:
        """The rows of labelled images."""
        return [self.row_of[name] for name in ids]

    def pixels_of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and target uint8 (H, W) of a labelled image at native size, from their files."""
        sample = self._samples[self.row_of[name]]
        return self.dataset.read_image(sample), self.dataset.read_mask(sample)

    def truth_of(self, name: str) -> np.ndarray:
        """The target of a labelled image at native size, uint8 (H, W) in {0, 1, 255}."""
        return self.labelled.truth(self.row_of[name])

    def hashes_of(self, name: str, target: np.ndarray | None = None) -> Hashes:
        """What tells the truth and the file of a labelled image from any other.

        `target`: its truth at native size, uint8 (H, W) in {0, 1, 255}; None: read from its file now.
        """
        sample = self._samples[self.row_of[name]]
        target = self.dataset.read_mask(sample) if target is None else target
        return Hashes(hash_truth(target), hash_file(Path(sample.image)))

    def train_batches(self, rows: list[int], loading: Loading, stride: int, seed: int) -> TrainLoader:
        """Training batches of labelled images.

        Raises:
            ConfigError: an augmentation that cannot be built, or not be done where the images are.
            DataError: images that make no batches, or do not fit where they are to be kept; see `train_loader`.
        """
        settings = loading.training(stride, seed)
        make = None
        if self._config.cache == "device":
            make = DeviceBatches(self.bring_to(loading.device), self._config, self._augment, settings)
        return train_loader(self.labelled, rows, self._config, self._augment, settings, make)

    def bring_to(self, device: torch.device) -> DeviceImages:
        """The labelled images on `device`, brought there once for all folds."""
        if self._on_device is None:
            self._on_device = DeviceImages.of(self.labelled, device)
        assert self._on_device.masks.device == device, f"{device} is not where the images are"
        return self._on_device

    def eval_batches(
        self, source: ImageSource, rows: list[int], loading: Loading, stride: int, *, with_truth: bool = False
    ) -> Iterator[EvalBatch]:
        """Whole images of `source`, each once, with their truth at native size where it is asked for."""
        return eval_batches(source, rows, self._config, loading.evaluating(stride), with_truth=with_truth)

    def sizes_vary(self, source: ImageSource, rows: list[int], stride: int) -> bool:
        """Whether `eval_batches` of these rows have more than one size."""
        return sizes_vary(source, rows, self._config, stride)

    def seen_sizes(self, stride: int) -> set[tuple[int, int]]:
        """The sizes (height, width) in which networks of `stride` see the labelled and the test images."""
        return set().union(*(seen_sizes(source, self._config, stride) for source in (self.labelled, self.test)))

    def train_size(self, stride: int) -> tuple[int, int]:
        """Height and width of a training batch, from one image as batches hold it."""
        make: Callable[[int, int], tuple[np.ndarray, np.ndarray]]
        make = sample_maker(self.labelled, self._config, self._augment, LoaderSettings(stride, batch_size=1))
        height, width = make(0, 0)[1].shape
        return height, width
