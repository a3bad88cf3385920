"""Images per second that the loader delivers, with and without the cache, beside a plain DataLoader.

The plain loader is what one writes first: a Dataset that decodes image and mask with OpenCV each time, the same
albumentations transforms, padding by reflection to 128 x 128, and torch's DataLoader with its own collation.

    python benchmarks/loading.py dataset=tgs dataset.root=PATH [augment=flips] [--rounds 4]
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from saltern.config import RunConfig, compose_config
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import LoaderSettings, train_loader
from saltern.data.loading.cache import open_source
from saltern.data.source.dataset import Dataset

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


def ours(dataset: Dataset, config: RunConfig, cache: str, workers: int) -> Epoch:
    """Epochs of Saltern's loader."""
    settings = replace(config.dataset, cache=cache)
    source = open_source(dataset, dataset.train, settings)
    loader = train_loader(
        source,
        range(len(source)),
        settings,
        config.augment,
        LoaderSettings(stride=32, batch_size=config.trainer.batch_size, workers=workers),
    )

    def epoch(number: int) -> Iterable[Any]:
        loader.set_epoch(number)
        return loader

    return epoch


def best_rates(epochs_of: dict[str, Epoch], images: int, rounds: int) -> dict[str, float]:
    """The best images per second of `rounds` epochs each, taken in turns, after one that warms up."""
    best = dict.fromkeys(epochs_of, float("inf"))
    for number in range(rounds + 1):
        for name, epoch in epochs_of.items():
            began = time.perf_counter()
            for _ in epoch(number):
                pass
            if number:
                best[name] = min(best[name], time.perf_counter() - began)
    return {name: images / seconds for name, seconds in best.items()}


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    config = compose_config("run", arguments.overrides)
    dataset = open_dataset(config.dataset)
    print(f"{len(dataset.train)} images, {os.cpu_count()} cores, torch {torch.__version__}, {platform.machine()}\n")
    columns = {}
    for workers in (0, 1, 2):
        loaders = {"plain DataLoader, decodes each time": plain(dataset, config, workers)}
        loaders |= {f"saltern, cache={cache}": ours(dataset, config, cache, workers) for cache in CACHES}
        columns[workers] = best_rates(loaders, len(dataset.train), arguments.rounds)
    print("| loader | in process | 1 worker | 2 workers |\n|---|---|---|---|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{columns[workers][name]:,.0f}/s" for workers in columns) + " |")


if __name__ == "__main__":
    main()
