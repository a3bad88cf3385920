"""Training speed: Saltern's fold loop beside the bare step of the same network, and beside a plain hand-written script.

Each side is a process of its own, since Saltern tells the C library how to treat memory; they train in turn, several
times, and the first turn of each is not counted. The plain side is what one would write in an afternoon: a Dataset that
decodes PNGs and calls albumentations, a DataLoader, autocast, AdamW, BCE. The bare step is the least that there can be:
forward, loss, backward and `AdamW(fused=True)` on one batch that lies on the device already, with the process's memory
kept as Saltern keeps it. Saltern's side is what its own epochs report: batches made, augmented and moved, losses
metered, gradients clipped, weights averaged where the overrides say so; checkpoints and validation are not training.

    python benchmarks/training.py dataset=tgs dataset.root=PATH model=unet_efficientnet_lite0

Overrides are those of `make train`; without any, the sample data set and its small network are used.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
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
from saltern.engine.fold_data import FoldData
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.job import Job
from saltern.losses import build_loss
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


def saltern_epoch(job: Job, rows: list[int], loss: dict[str, Any]) -> float:
    """One epoch of the fold loop on a fresh network; the seconds that it spent in training."""
    config = job.config
    network = build_model(config.model, pretrained=False)
    loader = job.material.train_batches(rows, job.loading, network.stride, seed=0)

    def batches(epoch: int, sampling: float | None) -> Any:
        loader.set_epoch(epoch, sampling)
        return iter(loader)

    phase, log = PhaseConfig(epochs=1, loss=loss, lr=1e-3), Noted()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            job.runtime,
            Recipe(ScheduleConfig(phases={"only": phase}), config.optim, config.trainer),
            Keeper(FoldDir(Path(folder))),
            log,
            Progress(),
        )
        data = FoldData(batches, loader.sizes, lambda network: {config.trainer.monitor: 0.0})
        trainer.fit(network, data, seed=0)
    return sum(loader.sizes) / log.rate


class Noted:
    """An epoch log that keeps the rate alone."""

    rate = 0.0

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Keep it."""
        self.rate = scores["images_per_s"]


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

    def __call__(self) -> float:
        """Seconds of one epoch."""
        began = time.perf_counter()
        plain_epoch(self.loader, self.config, torch.device(self.settings.device), self.settings.precision)
        return finished(began)


class Ours:
    """Epochs of Saltern's fold loop."""

    def __init__(self, config: RunConfig, settings: "Settings") -> None:
        self.job, self.settings = Job(config), settings
        assert self.job.runtime.precision == settings.precision

    def __call__(self) -> float:
        """Seconds of one epoch's training."""
        return saltern_epoch(self.job, self.settings.rows, self.settings.loss)


class Bare:
    """As many bare steps as an epoch has, on one batch."""

    def __init__(self, config: RunConfig, settings: "Settings") -> None:
        job = Job(config)  # its runtime keeps freed memory, as Saltern's side does
        self.config, self.settings, self.device = config, settings, job.runtime.device
        stride = build_model(config.model, pretrained=False).stride
        loader = job.material.train_batches(settings.rows, job.loading, stride, seed=0)
        batch = next(iter(loader))
        self.images, self.targets = batch.images.to(self.device), batch.targets.to(self.device)
        self.steps = sum(loader.sizes) / config.trainer.batch_size
        self.loss = build_loss(PhaseConfig(epochs=1, loss=settings.loss, lr=1e-3).terms()).to(self.device)

    def __call__(self) -> float:
        """Seconds of an epoch's images, at the rate of whole batches."""
        network = build_model(self.config.model, pretrained=False).to(self.device).train()
        network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == "fp16")
        half = DTYPES[self.settings.precision]
        began, whole = time.perf_counter(), int(self.steps)
        for _ in range(whole):
            with torch.autocast(self.device.type, half, enabled=half != torch.float32):
                logits = network(self.images).logits
            total, _ = self.loss(logits.float(), self.targets)
            optimizer.zero_grad()
            scaler.scale(total).backward()
            scaler.step(optimizer)
            scaler.update()
        return finished(began) * self.steps / whole


def finished(began: float) -> float:
    """Seconds since `began`, once the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Settings:
    """What both sides must agree on."""

    rows: list[int]
    device: str
    precision: str
    loss: dict[str, Any]


BCE, LOVASZ = {"bce": 1.0}, {"lovasz_hinge": 0.9, "bce": 0.1}
SIDES: dict[str, tuple[type[Plain] | type[Ours] | type[Bare], dict[str, Any]]] = {
    "plain script, bce": (Plain, BCE),
    "bare step, bce": (Bare, BCE),
    "saltern, bce": (Ours, BCE),
    "bare step, lovasz": (Bare, LOVASZ),
    "saltern, lovasz": (Ours, LOVASZ),
}
"""Name → what is timed, with which loss."""


def serve(name: str, arguments: list[str], settings: Settings, pipe: Connection) -> None:
    """In a process of its own: answer each message by the seconds of an epoch, and the last one by the peak memory."""
    side, _ = SIDES[name]
    epoch = side(compose_config("run", arguments), settings)
    pipe.send(None)
    while pipe.recv() is not None:
        pipe.send(epoch())
    on_gpu = torch.cuda.is_available() and settings.device != "cpu"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    pipe.send(peak >> 20)


def take_turns(arguments: list[str], settings: Settings) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Side → the seconds of each counted epoch, and its peak memory in MiB."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name, (_, loss) in SIDES.items():
        pipes[name], theirs = spawn.Pipe()
        own = replace(settings, loss=loss)
        processes.append(spawn.Process(target=serve, args=(name, arguments, own, theirs)))
        processes[-1].start()
        theirs.close()
        pipes[name].recv()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(TURNS + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            times[name].append(pipe.recv())
    peaks = {}
    for (name, pipe), process in zip(pipes.items(), processes, strict=True):
        pipe.send(None)
        peaks[name] = pipe.recv()
        process.join()
    return {name: seconds[1:] for name, seconds in times.items()}, peaks


def compare(times: dict[str, list[float]], ours: str, other: str) -> str:
    """How many times as fast `ours` is as `other`, turn by turn: median and range."""
    ratios = sorted(b / a for a, b in zip(times[ours], times[other], strict=True))
    return f"{statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    """Time all sides in turn and print the rates and their ratios."""
    config: RunConfig = compose_config("run", sys.argv[1:])
    job = Job(config)
    rows = list(range(min(IMAGES, len(job.material.dataset.train))))
    settings = Settings(rows, str(job.runtime.device), job.runtime.precision, BCE)
    times, peaks = take_turns(sys.argv[1:], settings)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {where}  {job.runtime.precision}")
    print(f"{len(rows)} images, batch {config.trainer.batch_size}, {TURNS} turns each, medians")
    for name, seconds in times.items():
        print(f"  {name:18s} {len(rows) / statistics.median(seconds):8.1f} images/s {peaks[name]:8,d} MiB")
    for loss in ("bce", "lovasz"):
        print(f"  saltern, {loss}: {compare(times, f'saltern, {loss}', f'bare step, {loss}')} of the bare step")
    print(f"  saltern, bce: {compare(times, 'saltern, bce', 'plain script, bce')} of the plain script")


if __name__ == "__main__":
    main()
