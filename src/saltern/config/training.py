"""Schedule, optimizer and trainer, as typed dataclasses."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from saltern.config.losses import LossTerm, parse_loss

AUTO = "auto"
"""A batch size that is found when a run begins."""


@dataclass(kw_only=True)
class PhaseConfig:
    """A stretch of epochs with one loss and one learning-rate curve, so the two cannot fall out of step."""

    epochs: int = MISSING
    loss: Any = MISSING
    """Loss name → weight, or → {weight: …, parameters …}; or as text, `0.9*lovasz_hinge+0.1*bce`."""
    lr: float = MISSING
    """Learning rate at the top of the curve."""
    lr_policy: str = "cosine"
    """One of LR_POLICIES."""
    warmup_epochs: float = 0.0
    """Length of a linear rise from 0 to `lr` at the phase's start, in epochs."""
    cycles: int = 1
    """Number of equal cycles, for cosine_restarts."""
    snapshots: bool = False
    """Keep the weights at the end of every cycle and predict with their mean instead of the best weights."""
    start_from: str = "last"
    """Weights the phase starts from: `last`, or the `best` so far."""

    def terms(self, where: str = "loss") -> list[LossTerm]:
        """The loss as terms with all parameters filled in."""
        return parse_loss(self.loss, where)


@dataclass(kw_only=True)
class ScheduleConfig:
    """The phases, run in the order in which they are written."""

    phases: dict[str, PhaseConfig] = MISSING


@dataclass(kw_only=True)
class OptimConfig:
    """The optimizer; the learning rate belongs to the phases."""

    name: str = MISSING
    """One of OPTIMIZERS."""
    weight_decay: float = 0.0
    """Applied to weights of two and more dimensions, not to biases and normalisation."""
    momentum: float = 0.9
    """For sgd."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """For adam and adamw."""
    encoder_lr_scale: float = 1.0
    """Factor on the learning rate of the encoder, for pretrained weights."""


@dataclass(kw_only=True)
class TrainerConfig:
    """How a fold is trained: batches, precision, devices, what counts as best."""

    folds: list[int] | None = None
    """The folds to train now; null: all. Folds of one run may be trained at different times and places."""
    batch_size: Any = 16
    """Images an optimizer step sees per device and accumulation step; `auto`: as many as memory holds, and as leave an
    epoch ten steps. It is found once, when a run begins; `config.yaml` holds the number."""
    eval_batch_size: int = 32
    workers: int = 0
    """Loader processes per device; images are cached in memory, so 0 is right on small machines."""
    precision: str = "auto"
    """One of PRECISIONS; auto is bf16 where the hardware has it, fp16 with loss scaling on older GPUs, else fp32."""
    channels_last: bool = True
    compile: bool = False
    """Compile the network for whole training batches by `torch.compile`: faster steps, after minutes at a fold's start.
    Where it cannot be compiled a warning says why, and it is trained without."""
    accumulate: int = 1
    """Batches per optimizer step."""
    clip_grad_norm: float | None = 1.0
    ema_decay: float | None = None
    """Score and keep the moving average of the weights over optimizer steps: the share of it that a step leaves, such
    as 0.99 (half of it forgotten in 69 steps); null: the weights themselves."""
    monitor: str = "precision_tgs"
    """The validation score, at threshold 0.5, by which the best weights are kept."""
    accelerator: str = "auto"
    """auto, cpu or cuda."""
    devices: int = 1
    nodes: int = 1
    deterministic: bool = False
    """Ask torch for deterministic algorithms; slower on a GPU."""
