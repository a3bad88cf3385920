"""The optimizer with its parameter groups, and the learning rate as a pure function of phase and position."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from saltern.config import OptimConfig, PhaseConfig
from saltern.engine.freezing import in_encoder

PLATEAU_FACTOR = 0.5
PLATEAU_PATIENCE = 5
ONE_CYCLE_RISE = 0.3


def build_optimizer(model: nn.Module, config: OptimConfig, lr: float, *, fused: bool = True) -> torch.optim.Optimizer:
    """The optimizer over `model`: encoder and rest, each with and without weight decay.

    `fused` updates all weights in one pass: a third of the time of torch's default on a CPU.

    Weights of two and more dimensions decay; biases and normalisation do not. The encoder's
    learning rate is `encoder_lr_scale` times that of the rest. Frozen parameters are left out.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (in_encoder(name), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    settings = []
    for (is_encoder, decays), parameters in groups.items():
        scale = config.encoder_lr_scale if is_encoder else 1.0
        decay = config.weight_decay if decays else 0.0
        settings.append({"params": parameters, "lr": lr * scale, "lr_scale": scale, "weight_decay": decay})
    return OPTIMIZERS[config.name](settings, config, fused)


OPTIMIZERS: dict[str, Callable[[list[dict[str, object]], OptimConfig, bool], torch.optim.Optimizer]] = {
    "adamw": lambda groups, config, fused: torch.optim.AdamW(
        groups, betas=(config.betas[0], config.betas[1]), fused=fused
    ),
    "adam": lambda groups, config, fused: torch.optim.Adam(
        groups, betas=(config.betas[0], config.betas[1]), fused=fused
    ),
    "sgd": lambda groups, config, fused: torch.optim.SGD(
        groups, lr=1.0, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused
    ),
}
"""`optim.name` → optimizer over parameter groups that carry their learning rate and weight decay."""


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group `lr` times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def scaled_rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """`lr_encoder`: the learning rate of the encoder, where it moves at another one than the rest."""
    scaled = [group["lr"] for group in optimizer.param_groups if group["lr_scale"] != 1.0]
    return {"lr_encoder": scaled[0]} if scaled else {}


def lr_at(phase: PhaseConfig, epoch: float, history: Sequence[float] = ()) -> float:
    """The learning rate of the next step: `phase.lr` times a linear rise, then the policy's curve.

    Args:
        phase: The phase the step lies in.
        epoch: Where in the phase it lies, as a fraction of epochs from 0.
        history: The monitored score of each finished epoch of the phase; only `plateau` looks at it.
    """
    if epoch < phase.warmup_epochs:
        return phase.lr * epoch / phase.warmup_epochs
    progress = (epoch - phase.warmup_epochs) / (phase.epochs - phase.warmup_epochs)
    return phase.lr * POLICIES[phase.lr_policy](phase, progress, history)


def ends_cycle(phase: PhaseConfig, epoch: int) -> int | None:
    """The number, from 0, of the cosine cycle that ends with `epoch` of the phase, where snapshots are kept."""
    if not phase.snapshots:
        return None
    length = phase.epochs // phase.cycles
    return epoch // length if (epoch + 1) % length == 0 else None


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


def _one_cycle(progress: float) -> float:
    """Cosine from 1/25 up to 1 over the first 30 %, then cosine down to 1/2500 (Smith, arXiv 1708.07120)."""
    if progress < ONE_CYCLE_RISE:
        return 1.0 - (1.0 - 1.0 / 25.0) * _cosine(progress / ONE_CYCLE_RISE)
    low = 1.0 / 2500.0
    return low + (1.0 - low) * _cosine((progress - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))


def _plateau(history: Sequence[float]) -> float:
    """Halved each time the best score has not moved for PLATEAU_PATIENCE epochs."""
    factor, best, waited = 1.0, -math.inf, 0
    for score in history:
        if score > best:
            best, waited = score, 0
        else:
            waited += 1
        if waited >= PLATEAU_PATIENCE:
            factor, waited = factor * PLATEAU_FACTOR, 0
    return factor


POLICIES: dict[str, Callable[[PhaseConfig, float, Sequence[float]], float]] = {
    "constant": lambda phase, progress, history: 1.0,
    "cosine": lambda phase, progress, history: _cosine(progress),
    "poly": lambda phase, progress, history: (1.0 - min(progress, 1.0)) ** 0.9,
    "one_cycle": lambda phase, progress, history: _one_cycle(progress),
    "cosine_restarts": lambda phase, progress, history: _cosine(round(progress * phase.cycles, 9) % 1.0),
    "plateau": lambda phase, progress, history: _plateau(history),
}
"""`lr_policy` → factor on the phase's lr, from the share of the phase that is done (0…1) and its scores so far."""
