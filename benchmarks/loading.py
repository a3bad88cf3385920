"""Images per second that the loader delivers, with and without the cache, beside two of torch's DataLoaders.

The plain loader is what one writes first: a Dataset that decodes image and mask with OpenCV each time, the same
albumentations transforms, padding by reflection to 128 x 128, and torch's DataLoader with its own collation.

The other one is what could stand in for `saltern.data.loading.workers`: torch's DataLoader over Saltern's cache, which
asks for Saltern's keys (epoch, rows) and gets the same batches from the same code. A second table holds the medians of
both and their ratio, taken in turns.

At last, batches where they are needed: those of Saltern's host, moved to the device, beside those that are made there
of images that it keeps (`dataset.cache=device`).

    python benchmarks/loading.py dataset=tgs dataset.root=PATH [augment=flips] [--rounds 4]

Without a data set it draws 1,600 images of 101 x 101, and removes them in the end.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from saltern.config import RunConfig, compose_config
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import LoaderSettings, TrainLoader, train_loader
from saltern.data.loading.cache import open_source
from saltern.data.loading.on_device import DeviceBatches, DeviceImages
from saltern.data.loading.workers import AHEAD, Arrays, Key
from saltern.data.source.dataset import Dataset
from saltern.errors import SalternError

CACHES = ("none", "memory", "file")


class PlainDataset(TorchDataset):
    """Decodes at every call."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        self.images, self.masks = dataset.train["image"].tolist(), dataset.train["mask"].tolist()
        transforms = [getattr(A, item.name)(**item.args) for item in config.augment.transforms]
        pad = A.PadIfNeeded(None, None, pad_height_divisor=32, pad_width_divisor=32, border_mode=cv2.BORDER_REFLECT_101)
        self.pipeline = A.Compose([*transforms, pad])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = cv2.cvtColor(cv2.imread(self.images[index]), cv2.COLOR_BGR2RGB)
        mask = (cv2.imread(self.masks[index], cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)
        done = self.pipeline(image=image, mask=mask)
        return torch.from_numpy(done["image"]).permute(2, 0, 1), torch.from_numpy(done["mask"])[None]


Epoch = Callable[[int], Iterable[Any]]


def plain(dataset: Dataset, config: RunConfig, workers: int) -> Epoch:
    """Epochs of the plain loader."""
    loader = DataLoader(
        PlainDataset(dataset, config),
        config.trainer.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    return lambda _: loader


def opened(dataset: Dataset, config: RunConfig, cache: str, workers: int) -> TrainLoader:
    """Saltern's loader."""
    settings = replace(config.dataset, cache=cache)
    source = open_source(dataset, dataset.train, settings)
    return train_loader(
        source,
        range(len(source)),
        settings,
        config.augment,
        LoaderSettings(stride=32, batch_size=config.trainer.batch_size, workers=workers),
    )


def ours(dataset: Dataset, config: RunConfig, cache: str, workers: int) -> Epoch:
    """Epochs of Saltern's loader."""
    loader = opened(dataset, config, cache, workers)

    def epoch(number: int) -> Iterable[Any]:
        loader.set_epoch(number)
        return loader

    return epoch


class Keyed(TorchDataset):
    """Saltern's batches as a data set: its items are whole batches, each under its key."""

    def __init__(self, make: Callable[[Key], Arrays]) -> None:
        self.make = make

    def __getitem__(self, key: Key) -> Arrays:
        return self.make(key)


class Keys(Sampler):
    """The keys of the epoch that the loader is set to."""

    def __init__(self, loader: TrainLoader) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Key]:
        return self.loader.keys()

    def __len__(self) -> int:
        return len(self.loader)


def torchs(dataset: Dataset, config: RunConfig, workers: int) -> Epoch:
    """Epochs of torch's DataLoader over the same cache, with the same keys and the same code that makes a batch."""
    keeper = opened(dataset, config, "memory", 0)
    several: dict[str, Any] = {"prefetch_factor": AHEAD, "persistent_workers": True, "multiprocessing_context": "fork"}
    loader = DataLoader(
        Keyed(keeper._maker.batch),
        batch_size=None,
        sampler=Keys(keeper),
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        **(several if workers else {}),
    )

    def epoch(number: int) -> Iterable[Any]:
        keeper.set_epoch(number)
        return loader

    return epoch


def rates(epochs_of: dict[str, Epoch], images: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of `rounds` epochs each, taken in turns, after one that warms up."""
    taken: dict[str, list[float]] = {name: [] for name in epochs_of}
    for number in range(rounds + 1):
        for name, epoch in epochs_of.items():
            began = time.perf_counter()
            for _ in epoch(number):
                pass
            if number:
                taken[name].append(images / (time.perf_counter() - began))
    return taken


def compare_hands(dataset: Dataset, config: RunConfig, rounds: int) -> None:
    """Print the table of Saltern's workers beside torch's: medians, and the median of the ratios turn by turn."""
    print("\n| workers | saltern, cache=memory | torch DataLoader, same cache and keys | torch / saltern |")
    print("|---|---|---|---|")
    for workers in (0, 1, 2):
        both = {
            "saltern": ours(dataset, config, "memory", workers),
            "torch": torchs(dataset, config, workers),
        }
        taken = rates(both, len(dataset.train), rounds)
        ratios = [other / own for own, other in zip(taken["saltern"], taken["torch"], strict=True)]
        own, other, ratio = (statistics.median(values) for values in (taken["saltern"], taken["torch"], ratios))
        print(f"| {workers} | {own:,.0f}/s | {other:,.0f}/s | {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |")


def moved(dataset: Dataset, config: RunConfig, workers: int, device: torch.device) -> Epoch:
    """Epochs of Saltern's loader, each batch moved to `device`; an epoch ends when it has arrived."""
    loader = opened(dataset, config, "memory", workers)

    def epoch(number: int) -> Iterator[Any]:
        loader.set_epoch(number)
        for batch in loader:
            yield batch.images.to(device, non_blocking=True), batch.targets.to(device, non_blocking=True)
        finish(device)

    return epoch


def made_there(dataset: Dataset, config: RunConfig, device: torch.device) -> Epoch:
    """Epochs of the batches that `device` makes; an epoch ends when it has made them."""
    source = open_source(dataset, dataset.train, config.dataset)
    settings = LoaderSettings(stride=32, batch_size=config.trainer.batch_size)
    make = DeviceBatches(DeviceImages.of(source, device), config.dataset, config.augment, settings)
    loader = train_loader(source, range(len(source)), config.dataset, config.augment, settings, make)

    def epoch(number: int) -> Iterator[Any]:
        loader.set_epoch(number)
        yield from loader
        finish(device)

    return epoch


def finish(device: torch.device) -> None:
    """Wait for what `device` was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare_places(dataset: Dataset, config: RunConfig, rounds: int) -> None:
    """Print the medians of batches made on the host and on the device, in turns."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    sides = {f"host, {workers} workers, then moved": moved(dataset, config, workers, device) for workers in (0, 2)}
    try:
        sides["dataset.cache=device"] = made_there(dataset, config, device)
    except SalternError as error:
        print(f"\nNot compared on {device}: {error}")
        return
    taken = rates(sides, len(dataset.train), rounds)
    print(f"\n| batches made, on {device} | median |\n|---|---|")
    for name, values in taken.items():
        print(f"| {name} | {statistics.median(values):,.0f}/s |")


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        drawn = [f"dataset.root={folder}/sample", "dataset.train=1600", "dataset.test=2", "dataset.side=101"]
        measure(compose_config("run", arguments.overrides or drawn), arguments.rounds)


def measure(config: RunConfig, rounds: int) -> None:
    """Print every table."""
    dataset = open_dataset(config.dataset)
    print(f"{len(dataset.train)} images, {os.cpu_count()} cores, torch {torch.__version__}, {platform.machine()}\n")
    columns = {}
    for workers in (0, 1, 2):
        loaders = {"plain DataLoader, decodes each time": plain(dataset, config, workers)}
        loaders |= {f"saltern, cache={cache}": ours(dataset, config, cache, workers) for cache in CACHES}
        taken = rates(loaders, len(dataset.train), rounds)
        columns[workers] = {name: max(values) for name, values in taken.items()}
    print("| loader | in process | 1 worker | 2 workers |\n|---|---|---|---|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{columns[workers][name]:,.0f}/s" for workers in columns) + " |")
    compare_hands(dataset, config, rounds)
    compare_places(dataset, config, rounds)


if __name__ == "__main__":
    main()
