"""What a resumable run is made of, and weights on their own."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from saltern.errors import RunError
from saltern.files import atomic


@dataclass
class TrainState:
    """Everything the loop counts. The schedule needs none: it is a function of `epoch`."""

    epoch: int = 0
    """Finished epochs, over all phases."""
    step: int = 0
    """Optimizer steps."""
    best_score: float | None = None
    best_epoch: int | None = None
    phase_best: dict[str, float] = field(default_factory=dict)
    """Phase → its best monitored score."""
    history: list[float] = field(default_factory=list)
    """The monitored score of every finished epoch."""
    precision: str | None = None
    """fp32, bf16 or fp16: that of the last epoch."""


def save_checkpoint(path: Path, state: TrainState, parts: dict[str, Any]) -> None:
    """Write `state` and `parts` (name → state dict) in one step."""
    with atomic(path) as temporary:
        torch.save({"state": asdict(state), **parts}, temporary)


def load_checkpoint(path: Path) -> tuple[TrainState, dict[str, Any]]:
    """Read what `save_checkpoint` wrote; tensors come to the CPU.

    Raises:
        RunError: not readable, or from another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        return TrainState(**content.pop("state")), content
    except Exception as error:  # a damaged file makes torch, pickle and zipfile raise classes of their own
        raise RunError(
            f"{path}: not readable as a checkpoint ({error}). Delete the fold's folder to train it again."
        ) from error


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the weights of `model` as safetensors, in one step."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic(path) as temporary:
        save_file(tensors, temporary)


def load_weights(path: Path, model: nn.Module) -> None:
    """Load weights that `save_weights` wrote; every key must fit.

    Raises:
        RunError: the file is missing, damaged, or of another network.
    """
    try:
        model.load_state_dict(load_file(path))
    except Exception as error:  # safetensors raises a class of its own, torch RuntimeError
        raise RunError(f"{path}: not the weights of this network ({error}).") from error
