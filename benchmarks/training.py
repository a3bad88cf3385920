"""Training speed: Saltern's fold loop beside a plain hand-written script, the same network, batch size and precision.

Both sides train in turn, several times, in this one process; the first turn of each is not counted. The plain side is
what one would write in an afternoon: a Dataset that decodes PNGs and calls albumentations, a DataLoader, autocast,
AdamW, BCE.

    python benchmarks/training.py dataset=tgs dataset.root=PATH model=unet_efficientnet_lite0

Overrides are those of `make train`; without any, the sample data set and its small network are used.
"""

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import torch
from albumentations.pytorch import ToTensorV2
from torch.utils.data import DataLoader, Dataset

from saltern import runtime
from saltern.config import PhaseConfig, RunConfig, ScheduleConfig, compose_config
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
        self.samples = [job.labelled.samples[row] for row in rows]
        height, width = (-(-side // 32) * 32 for side in job.labelled.native[rows[0]])
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
    loader = job.train_batches(rows, network.stride, seed=0)

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
            FoldDir(Path(folder)),
            Silent(),
            Progress(),
        )
        data = FoldData(batches, len(rows), len(loader), lambda network: {config.trainer.monitor: 0.0})
        trainer.fit(network, data, seed=0)


class Silent:
    """An epoch log that keeps nothing."""

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Let it go."""


def seconds(work: Any, *args: Any) -> float:
    """Wall seconds of one call, the device's queue emptied."""
    began = time.perf_counter()
    work(*args)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Time both sides in turn and print the rates and their ratio."""
    config: RunConfig = compose_config("run", sys.argv[1:])
    job = Job(config)
    rows = list(range(min(IMAGES, len(job.labelled))))
    runtime.seed_all(0)
    loader = DataLoader(
        PlainDataset(job, rows), config.trainer.batch_size, shuffle=True, num_workers=config.trainer.workers
    )
    plain, ours = [], []
    for _ in range(TURNS + 1):
        plain.append(seconds(plain_epoch, loader, config, job.runtime.device, job.runtime.precision))
        ours.append(seconds(saltern_epoch, job, rows))
    plain, ours = plain[1:], ours[1:]
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {where}  {job.runtime.precision}")
    print(f"{len(rows)} images, batch {config.trainer.batch_size}, {TURNS} turns each, medians")
    for name, times in (("plain script", plain), ("saltern", ours)):
        print(f"  {name:14s} {len(rows) / statistics.median(times):8.1f} images/s")
    ratios = sorted(a / b for a, b in zip(plain, ours, strict=True))
    print(f"  ratio          {statistics.median(ratios):8.2f}  (from {ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
