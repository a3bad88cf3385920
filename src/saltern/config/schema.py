"""The whole run as typed dataclasses; those of the data sets are in `datasets`. No torch: a typo is answered at once.

A string under a field says what it means. Checks of one value, or of several together, live in `check_*`
of `saltern.config.checks`.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from saltern.config.datasets import DatasetConfig, SubmissionConfig
from saltern.config.losses import LossTerm, parse_loss


# -------------------------------------------------------------------------------- folds, augment
@dataclass(kw_only=True)
class FoldsConfig:
    """How the labelled images are divided for cross-validation."""

    kind: str = MISSING
    """One of FOLD_KINDS."""
    n: int = 5
    """Number of folds, at least 2; `predefined` and `file` bring their own number."""
    seed: int = 0
    """The same ids and seed give the same folds, in whatever order the rows come."""
    group: str | None = None
    """For `group` and `stratified_group`: a column of the sample table, or `duplicates` (clusters of look-alikes)."""
    regex: str | None = None
    """In place of `group`: its first bracketed part (or the whole match), found in the id, names the group."""
    file: str | None = None
    """For `kind: file`: a CSV of your own with the columns id, fold; fold -1 is trained on and never validated."""
    check_images: bool = True
    """Look for duplicates across the folds, which reads every image once."""


@dataclass(kw_only=True)
class TransformConfig:
    """One albumentations transform: `name` and its arguments, checked against the library."""

    name: str = MISSING
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class AugmentConfig:
    """What is done to training images, in order; never to validation or test images."""

    transforms: list[TransformConfig] = field(default_factory=list)


# ------------------------------------------------------------------------------------------ model
@dataclass(kw_only=True)
class ModelConfig:
    """What every network shares. Normalisation is stated here, never looked up."""

    kind: str = MISSING
    """Which family builds it; fixed by the file under `configs/model`."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Per channel (RGB), of images scaled to [0, 1]; the default is ImageNet's."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])


@dataclass(kw_only=True)
class SmpConfig(ModelConfig):
    """Any architecture and encoder of segmentation-models-pytorch, by name."""

    kind: str = "smp"
    architecture: str = MISSING
    """One of ARCHITECTURES."""
    encoder: str = MISSING
    """One of ENCODERS, or `tu-NAME` for any encoder of timm."""
    encoder_weights: str | None = None
    """null (random), `imagenet` (from the hub), or the path of a local .safetensors or .pth file."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the SMP class, such as {decoder_attention_type: scse}."""


@dataclass(kw_only=True)
class DeepLabV2Config(ModelConfig):
    """DeepLab v2: an atrous ResNet with a feature map of an eighth of the image, and four dilated branches, summed."""

    kind: str = "deeplabv2"
    encoder: str = MISSING
    """One of DEEPLABV2_ENCODERS."""
    encoder_weights: str | None = None
    """null (random), `imagenet` (torchvision's, from the hub), or the path of a local .safetensors or .pth file."""
    multi_scale: bool = False
    """See the image at 0.5, 0.75 and 1 of its size; the highest of the three logits counts. 1.8 times the work."""
    freeze_batchnorm: bool = False
    """Keep the encoder's batch norm as its weights have it, as the paper's authors do; right for small batches."""


# --------------------------------------------------------------------------------------- training
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
    batch_size: int = 16
    """Images an optimizer step sees per device and accumulation step."""
    eval_batch_size: int = 32
    workers: int = 0
    """Loader processes per device; images are cached in memory, so 0 is right on small machines."""
    precision: str = "auto"
    """One of PRECISIONS; auto is bf16 where the hardware has it, fp16 with loss scaling on older GPUs, else fp32."""
    channels_last: bool = True
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


# -------------------------------------------------------------------------------- after training
@dataclass(kw_only=True)
class InferenceConfig:
    """Probabilities and the decision that turns them into masks."""

    views: list[str] = field(default_factory=lambda: ["identity", "hflip"])
    """Test-time views whose probabilities are averaged; of VIEWS."""
    tune_for: str = "precision_tgs"
    """The out-of-fold score that the decision maximises; of MONITORS."""
    thresholds: list[float] = field(default_factory=lambda: [round(0.2 + 0.02 * step, 2) for step in range(31)])
    """Candidates for the probability above which a pixel is foreground."""
    min_areas: list[int] = field(default_factory=lambda: [0, 5, 10, 20, 35, 50, 75, 100])
    """Candidates, in pixels: masks with fewer foreground pixels become empty."""
    empty_gates: list[float] = field(default_factory=lambda: [0.0, 0.6, 0.7, 0.8, 0.9, 0.95])
    """Candidates: images whose highest probability stays below the gate become empty; 0 is no gate."""
    shard_mb: int = 64
    """Size of one file of stored probabilities."""
    networks_at_once: int | None = None
    """Networks on the device at a time; null: all on a CPU, on a GPU as many as fit in half of its free memory."""


# ---------------------------------------------------------------------------------------- entries
@dataclass(kw_only=True)
class RunConfig:
    """Everything about one run. `configs/run.yaml` composes it."""

    name: str = MISSING
    """The run folder is `outputs/<name>`."""
    outputs: str = "outputs"
    seed: int = 0
    overwrite: bool = False
    """Start a run anew in place of the one that has this name."""
    dataset: DatasetConfig = MISSING
    folds: FoldsConfig = MISSING
    augment: AugmentConfig = MISSING
    model: ModelConfig = MISSING
    schedule: ScheduleConfig = MISSING
    optim: OptimConfig = MISSING
    trainer: TrainerConfig = MISSING
    inference: InferenceConfig = MISSING
    submission: SubmissionConfig = MISSING


@dataclass(kw_only=True)
class ImportConfig(RunConfig):
    """An archive → a data set in its layout. The keys of a run are there since a dataset may set them."""

    archive: str = MISSING
    """A .zip or .tar file, or a folder with such files and CSVs; unpacked to `dataset.root`."""


@dataclass(kw_only=True)
class DownloadConfig:
    """A competition's archive, by Kaggle's own command line."""

    competition: str = MISSING
    """The name in its address, such as tgs-salt-identification-challenge."""
    target: str = "data/downloads"
    """Folder of the archive."""


@dataclass(kw_only=True)
class EnsembleConfig:
    """Several finished runs → a new run folder."""

    name: str = MISSING
    runs: list[str] = MISSING
    weights: list[float] | None = None
    """One positive number a run; null: equal."""
    outputs: str = "outputs"
    root: str | None = None
    """Where the data set lies now; null: where the runs found it."""
    overwrite: bool = False


@dataclass(kw_only=True)
class CompareConfig:
    """Two or more runs side by side; the first is the baseline."""

    name: str = MISSING
    runs: list[str] = MISSING
    outputs: str = "outputs"
    root: str | None = None
    """Where the data set lies now; null: where the runs found it."""
    score: str = "precision_tgs"
    """The column of `oof_scores.csv` that is compared: iou, dice or precision_tgs."""


@dataclass(kw_only=True)
class ScoreConfig:
    """A submission CSV against a truth CSV of the same form."""

    submission: str = MISSING
    truth: str = MISSING
    images: str | None = None
    """Folder of the images, whose sizes say where a mask ends; null: test/images beside the truth, if there is one."""
    outside: str = "error"
    """Runs past an image's end are an `error`, as Kaggle has it, or `count` as false positives."""
    format: SubmissionConfig = field(default_factory=SubmissionConfig)
