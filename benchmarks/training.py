"""Training speed: Saltern's fold loop beside a plain hand-written script, the same network, batch size and precision.

Each side is a process of its own, since Saltern tells the C library how to treat memory; they train in turn, several
times, and the first turn of each is not counted. The plain side is what one would write in an afternoon: a Dataset that
decodes PNGs and calls albumentations, a DataLoader, autocast, AdamW, BCE.

    python benchmarks/training.py dataset=tgs dataset.root=PATH model=unet_efficientnet_lite0

Overrides are those of `make train`; without any, the sample data set and its small network are used.
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import torch
from albumentations.pytorch import ToTensorV2
from torch.utils.data import DataLoader, Dataset

from saltern import runtime
from saltern.config import PhaseConfig, RunConfig, ScheduleConfig, compose_config
from saltern.engine.keeper import Keeper
from saltern.engine.trainer import FoldData, Trainer
from saltern.job import Job
from saltern.losses import Schedule
from saltern.models import build_model
from saltern.progress import Progress
from saltern.runs import FoldDir

IMAGES = 256
TURNS = 5
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class PlainDataset(Dataset):
    """Image and mask from their files, padded to a multiple of 32, flipped, normalised."""

    def __init__(self, job: Job, rows: list[int]) -> None:
        self.samples = [job.material.labelled.samples[row] for row in rows]
        height, width = (-(-side // 32) * 32 for side in job.material.labelled.native[rows[0]])
        model = job.config.model
        self.transform = A.Compose(
            [
                A.PadIfNeeded(height, width, border_mode=cv2.BORDER_REFLECT_101),
                A.HorizontalFlip(p=0.5),
                A.Normalize(model.mean, model.std),
                ToTensorV2(),
            ]
        )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample = self.samples[index]
        image = cv2.cvtColor(cv2.imread(sample.image), cv2.COLOR_BGR2RGB)
        mask = (cv2.imread(sample.mask, cv2.IMREAD_GRAYSCALE) > 0).astype("float32")
        done = self.transform(image=image, mask=mask)
        return done["image"], done["mask"]


def plain_epoch(loader: DataLoader, config: RunConfig, device: torch.device, precision: str) -> None:
    """One epoch of the hand-written script on a fresh network."""
    network = build_model(config.model, pretrained=False).net.to(device).train()
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    for images, masks in loader:
        with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
            logits = network(images.to(device, memory_format=torch.channels_last))[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), masks.to(device))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()


def saltern_epoch(job: Job, rows: list[int]) -> None:
    """One epoch of the fold loop on a fresh network, its checkpoint included."""
    config = job.config
    network = build_model(config.model, pretrained=False)
    loader = job.material.train_batches(rows, job.loading, network.stride, seed=0)

    def batches(epoch: int) -> Any:
        loader.set_epoch(epoch)
        return iter(loader)

    phase = PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            job.runtime,
            Schedule(ScheduleConfig(phases={"only": phase})),
            config.trainer,
            config.optim,
            Keeper(FoldDir(Path(folder))),
            Silent(),
            Progress(),
        )
        data = FoldData(batches, loader.sizes, lambda network: {config.trainer.monitor: 0.0})
        trainer.fit(network, data, seed=0)


class Silent:
    """An epoch log that keeps nothing."""

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Let it go."""


class Plain:
    """Epochs of the hand-written script."""

    def __init__(self, config: RunConfig, settings: "Settings") -> None:
        job = Job(config)
        runtime.seed_all(0)
        workers = config.trainer.workers
        self.loader = DataLoader(
            PlainDataset(job, settings.rows), config.trainer.batch_size, shuffle=True, num_workers=workers
        )
        self.config, self.settings = config, settings

    def __call__(self) -> None:
        """One epoch."""
        plain_epoch(self.loader, self.config, torch.device(self.settings.device), self.settings.precision)


class Ours:
    """Epochs of Saltern's fold loop."""

    def __init__(self, config: RunConfig, settings: "Settings") -> None:
        self.job, self.rows = Job(config), settings.rows
        assert self.job.runtime.precision == settings.precision

    def __call__(self) -> None:
        """One epoch."""
        saltern_epoch(self.job, self.rows)


@dataclass(frozen=True)
class Settings:
    """What both sides must agree on."""

    rows: list[int]
    device: str
    precision: str


def serve(side: type[Plain] | type[Ours], arguments: list[str], settings: Settings, pipe: Connection) -> None:
    """In a process of its own: answer each message by the seconds of an epoch, until `None` comes."""
    epoch = side(compose_config("run", arguments), settings)
    pipe.send(None)
    while pipe.recv() is not None:
        began = time.perf_counter()
        epoch()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        pipe.send(time.perf_counter() - began)


def take_turns(arguments: list[str], settings: Settings) -> dict[str, list[float]]:
    """Side → the seconds of each counted epoch."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, side in (("plain script", Plain), ("saltern", Ours)):
        pipes[name], theirs = spawn.Pipe()
        processes.append(spawn.Process(target=serve, args=(side, arguments, settings, theirs)))
        processes[-1].start()
        theirs.close()
        pipes[name].recv()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(TURNS + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            times[name].append(pipe.recv())
    for pipe, process in zip(pipes.values(), processes, strict=True):
        pipe.send(None)
        process.join()
    return {name: seconds[1:] for name, seconds in times.items()}


def main() -> None:
    """Time both sides in turn and print the rates and their ratio."""
    config: RunConfig = compose_config("run", sys.argv[1:])
    job = Job(config)
    rows = list(range(min(IMAGES, len(job.material.dataset.train))))
    times = take_turns(sys.argv[1:], Settings(rows, str(job.runtime.device), job.runtime.precision))
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {where}  {job.runtime.precision}")
    print(f"{len(rows)} images, batch {config.trainer.batch_size}, {TURNS} turns each, medians")
    for name, seconds in times.items():
        print(f"  {name:14s} {len(rows) / statistics.median(seconds):8.1f} images/s")
    ratios = sorted(a / b for a, b in zip(*times.values(), strict=True))
    print(f"  ratio          {statistics.median(ratios):8.2f}  (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
