"""Schedule, optimizer and trainer, as typed dataclasses."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from saltern.config.losses import LossTerm, parse_loss

ALL_IMAGES = "all"
"""In `trainer.folds`, and in the name of its folder: the network of every labelled image."""
AUTO = "auto"
"""A batch size that is found when a run begins."""


@dataclass(kw_only=True)
class PhaseConfig:
    """A stretch of epochs with one loss and one learning-rate curve, so the two cannot fall out of step."""

    epochs: int = MISSING
    """Number of epochs; in each, every training image is seen once (but for `sampling`)."""
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
    sampling: Any = None
    """Share of empty images (whole masks without foreground) in an epoch, from 0 to 1; or [first, last], a straight
    line from the phase's first epoch to its last; null: every image once. The number of images of an epoch stays: a
    kind that is wanted more often is repeated, each time augmented anew, one that is wanted less sits out in turns.
    `metrics.csv` has the share as `empty_share`."""
    freeze_encoder: bool = False
    """The encoder does not move in this phase: its parameters, nor the statistics of its batch norm."""
    freeze_batchnorm: bool = False
    """All batch norm keeps its statistics, factors and offsets in this phase, and uses them, as in evaluation."""

    def terms(self, where: str = "loss") -> list[LossTerm]:
        """The loss as terms with all parameters filled in."""
        return parse_loss(self.loss, where)

    def shares(self) -> tuple[float, float] | None:
        """The share of empty images in the phase's first and last epoch; None where it does not matter."""
        if self.sampling is None:
            return None
        first, last = self.sampling if isinstance(self.sampling, list) else (self.sampling, self.sampling)
        return float(first), float(last)


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

    folds: list[Any] | None = None
    """The folds to train now; null: every one. Folds of one run may be trained at different times and places.
    [all]: one more network, on every labelled image, for as many epochs as the trained folds found best."""
    batch_size: Any = 16
    """Images an optimizer step sees per device and accumulation step; `auto`: as many as memory holds, and as leave an
    epoch ten steps. It is found once, when a run begins; `config.yaml` holds the number."""
    eval_batch_size: int = 32
    """Images that validation and prediction take at a time; it changes memory and speed, not the results."""
    workers: int = 0
    """Loader processes per device; images are cached in memory, so 0 is right on small machines."""
    precision: str = "auto"
    """One of PRECISIONS; auto is bf16 where the hardware has it, fp16 with loss scaling on older GPUs, else fp32."""
    channels_last: bool = True
    """Lay images out in memory with the channels last, which most hardware computes faster."""
    compile: bool = False
    """Compile the network for whole training batches by `torch.compile`: faster steps, after minutes at a fold's start.
    Where it cannot be compiled a warning says why, and it is trained without."""
    accumulate: int = 1
    """Batches per optimizer step."""
    clip_grad_norm: float | None = 1.0
    """Gradients whose norm, over all weights, is larger are shrunk to it; null: never."""
    ema_decay: float | None = None
    """Score and keep the moving average of the weights over optimizer steps: the share of it that a step leaves, such
    as 0.99 (half of it forgotten in 69 steps); null: the weights themselves."""
    pictures_every: int | None = 5
    """Epochs between pictures for TensorBoard, the first one's beside: some validation images of the fold, always the
    same, with outlines of truth and mask; null: none."""
    monitor: str = "precision_tgs"
    """The validation score, at threshold 0.5, by which the best weights are kept."""
    keep: str = "best"
    """The weights the fold predicts with, of KEEPS: those of the `best` epoch, of the `last` one, or the `average` of
    several epochs (Wortsman et al., arXiv 2203.05482) with its batch norm estimated anew. With `ema_decay` all of them
    are moving averages."""
    soup_epochs: int = 5
    """For keep=average: how many epochs of the last phase; all of them where it has fewer."""
    soup_of: str = "best"
    """For keep=average: which of them, of SOUPS: the `best` by `monitor`, or the `last`."""
    early_stop: int | None = None
    """Epochs of a phase without a better score (of `monitor`, in that phase) after which the phase ends and the next
    one begins; null: never. The end of the last phase is the end of training. Learning rates follow the phase's full
    length all the same: a curve that falls to its end is left before it."""
    max_hours: float | None = None
    """Hours that the training of one fold may take, over all interruptions; null: no limit. After an epoch that leaves
    no time for another like the longest so far, training ends as finished. A fold that ended so is complete, and stays
    so where more hours are given later."""
    accelerator: str = "auto"
    """auto, cpu or cuda."""
    devices: int = 1
    """GPUs of each machine (or processes, on a CPU) that train a fold together."""
    nodes: int = 1
    """Machines that train a fold together; each is started by a launcher such as torchrun."""
    checkpointing: bool = False
    """Keep the input of a network's blocks alone for the backward pass, and compute each again in it: less memory for
    about a third more time. The results stay what they are."""
    deterministic: bool = False
    """Ask torch for deterministic algorithms; slower on a GPU."""
