"""A network, data and a trainer so small that a fold trains in milliseconds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saltern import runtime
from saltern.config import OptimConfig, PhaseConfig, ScheduleConfig, TrainerConfig
from saltern.engine.fold_data import FoldData
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.models import Outputs
from saltern.progress import Progress
from saltern.runs import FoldDir

IMAGES = 12


@dataclass
class Batch:
    images: Tensor
    targets: Tensor
    ids: tuple[str, ...]


class Net(nn.Module):
    """Logits from one dropout and one convolution over scaled pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.conv = nn.Conv2d(3, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Outputs:
        return Outputs(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        return self.conv(self.drop(image.float() / 255))


class Log:
    def __init__(self) -> None:
        self.rows: list[tuple[int, str, dict[str, float]]] = []

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        self.rows.append((epoch, phase, scores))


class Killed(Exception):
    """Stands for the power cut."""


def pixels(epoch: int) -> tuple[Tensor, Tensor]:
    """Bright foreground on dark ground, shuffled by the epoch."""
    generator = torch.Generator().manual_seed(epoch)
    target = (torch.rand(IMAGES, 1, 8, 8, generator=generator) > 0.5).to(torch.uint8)
    noise = torch.randint(0, 60, (IMAGES, 3, 8, 8), generator=generator)
    return (target * 150 + noise).to(torch.uint8), target


def data(batch_size: int = 4, die_in: int | None = None, poison: float | None = None) -> FoldData:
    def batches(epoch: int, sampling: float | None = None) -> Iterator[Batch]:
        if epoch == die_in:
            raise Killed
        images, targets = pixels(epoch)
        for start in range(0, IMAGES, batch_size):
            part = slice(start, start + batch_size)
            yield Batch(images[part], targets[part], tuple(map(str, range(IMAGES)[part])))

    def validate(network: nn.Module) -> dict[str, float]:
        network.eval()
        images, targets = pixels(1000)
        with torch.no_grad():
            right = ((network(images).logits > 0) == targets.bool()).float().mean()
        return {"precision_tgs": float(right) if poison is None else poison}

    sizes = [min(batch_size, IMAGES - start) for start in range(0, IMAGES, batch_size)]
    return FoldData(batches, sizes, validate)


def phases(**settings: Any) -> ScheduleConfig:
    fine = {"epochs": 2, "loss": {"lovasz_hinge": 0.9, "bce": 0.1}, "lr": 0.01, "start_from": "best", **settings}
    return ScheduleConfig(
        phases={"warm_up": PhaseConfig(epochs=3, loss={"bce": 1.0}, lr=0.2), "fine_tune": PhaseConfig(**fine)}
    )


def trainer(
    folder: Path, schedule: ScheduleConfig | None = None, optimizer: str = "adamw", **settings: Any
) -> tuple[Trainer, Log]:
    config = TrainerConfig(accelerator="cpu", precision="fp32", **settings)
    log = Log()
    return (
        Trainer(
            runtime.start(config),
            Recipe(schedule or phases(), OptimConfig(name=optimizer, weight_decay=0.01), config),
            Keeper(FoldDir(folder)),
            log,
            Progress(),
        ),
        log,
    )


def fresh() -> Net:
    torch.manual_seed(0)
    return Net()


def weights(model: nn.Module) -> list[Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]
