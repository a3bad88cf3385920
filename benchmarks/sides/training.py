"""What `benchmarks/training.py` times: each side is built in a process of its own and gives the seconds of an epoch."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import torch
from albumentations.pytorch import ToTensorV2
from torch.utils.data import DataLoader, Dataset

from saltern import runtime
from saltern.config import PhaseConfig, RunConfig, ScheduleConfig
from saltern.data.loading.evaluation import EvalBatch
from saltern.engine.compiling import compile_network
from saltern.engine.fold_data import FoldData
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.inference.members import seeing
from saltern.inference.predict import Predictor, score_batches
from saltern.job import Job
from saltern.losses import build_loss
from saltern.models import SegmentationNet, build_model
from saltern.progress import Progress
from saltern.runs import FoldDir

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Clock:
    """Notes when the first step was done, in seconds since the clock was made or begun."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.begin()

    def begin(self, held: float = 0.0) -> None:
        """Count from now, and what was counted before."""
        self._began = time.perf_counter() - held

    def elapsed(self) -> float:
        """Seconds since the clock was begun."""
        return time.perf_counter() - self._began

    def stepped(self) -> None:
        """A step is done; all but the first call do nothing."""
        if self.first is None:
            self.first = finished(self._began)


@dataclass(frozen=True)
class Settings:
    """What both sides must agree on."""

    rows: list[int]
    device: str
    precision: str
    loss: dict[str, Any]
    clock: Clock = field(default_factory=Clock)


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


def plain_epoch(loader: DataLoader, config: RunConfig, settings: Settings) -> None:
    """One epoch of the hand-written script on a fresh network."""
    device, precision = torch.device(settings.device), settings.precision
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
        settings.clock.stepped()


def saltern_epoch(job: Job, settings: Settings) -> float:
    """One epoch of the fold loop on a fresh network; the seconds that it spent in training."""
    config = job.config
    network = placed(job)
    if config.trainer.compile:
        compile_network(network, job.material.train_size(network.stride), config.trainer, job.runtime)
    loader = job.material.train_batches(settings.rows, job.loading, network.stride, seed=0)

    def batches(epoch: int, sampling: float | None) -> Any:
        loader.set_epoch(epoch, sampling)
        for number, batch in enumerate(loader):
            if number:  # the loop comes for more when a step is done
                settings.clock.stepped()
            yield batch

    phase, log = PhaseConfig(epochs=1, loss=settings.loss, lr=1e-3), Noted()
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

    def __init__(self, config: RunConfig, settings: Settings) -> None:
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
        plain_epoch(self.loader, self.config, self.settings)
        return finished(began)


class Ours:
    """Epochs of Saltern's fold loop."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
        self.job, self.settings = Job(config), settings
        assert self.job.runtime.precision == settings.precision

    def __call__(self) -> float:
        """Seconds of one epoch's training."""
        return saltern_epoch(self.job, self.settings)


class Bare:
    """As many bare steps as an epoch has, on one batch."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
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
            self.settings.clock.stepped()
        return finished(began) * self.steps / whole


class Validation:
    """Validation as the fold loop has it: whole images read, seen once, and scored at native size."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
        self.job, self.settings = Job(config), settings
        self.network = placed(self.job)

    def batches(self) -> Iterator[EvalBatch]:
        """The images, with their truth."""
        material = self.job.material
        seen = material.eval_batches(
            material.labelled, self.settings.rows, self.job.loading, self.network.stride, with_truth=True
        )
        for number, batch in enumerate(seen):
            if number:
                self.settings.clock.stepped()
            yield batch

    def __call__(self) -> float:
        """Seconds of one pass over the images."""
        began = time.perf_counter()
        look = seeing(self.job.config, ["identity"], self.network.stride)
        counts = score_batches(Predictor(self.job.runtime, [self.network], look), self.batches())
        counts.summarise(self.job.runtime.sum_over_ranks)
        return finished(began)


class BareForward:
    """The network's forward alone, over the batches of validation, which lie on the device already."""

    def __init__(self, config: RunConfig, settings: Settings) -> None:
        whole = Validation(config, replace(settings, clock=Clock()))
        self.settings, self.runtime, self.network = settings, whole.job.runtime, whole.network.eval()
        order = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
        self.images = [
            batch.images.to(self.runtime.device).contiguous(memory_format=order) for batch in whole.batches()
        ]

    @torch.inference_mode()
    def __call__(self) -> float:
        """Seconds of one pass over the images."""
        began = time.perf_counter()
        for images in self.images:
            with self.runtime.autocast():
                self.network(images)
            self.settings.clock.stepped()
        return finished(began)


def placed(job: Job) -> SegmentationNet:
    """A network with random weights on the job's device."""
    network: SegmentationNet = job.runtime.place(
        build_model(job.config.model, pretrained=False), channels_last=job.config.trainer.channels_last
    )
    return network


def finished(began: float) -> float:
    """Seconds since `began`, once the device is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
