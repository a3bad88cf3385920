"""The whole run as typed dataclasses; data sets, networks, training and other entries have files of their own.

No torch: a typo is answered at once.

A string under a field says what it means. Checks of one value, or of several together, live in `check_*`
of `saltern.config.checks`.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from omegaconf import MISSING

from saltern.config.datasets import DatasetConfig, SubmissionConfig
from saltern.config.forecast import ForecastConfig
from saltern.config.networks import ModelConfig
from saltern.config.training import OptimConfig, ScheduleConfig, TrainerConfig


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
    max_ratio: float = 0.8
    """Over 0, up to 1: for `adjacency`, and to count neighbours, tiles belong together where the distance between their
    borders is at most about this share of that to the second best: a false link joins two tiles, a missed one leaks."""
    check_images: bool = True
    """Look for duplicates and neighbours across the folds, and compare with the test: reads every image once."""


@dataclass(kw_only=True)
class TransformConfig:
    """One albumentations transform: `name` and its arguments, checked against the library."""

    name: str = MISSING
    """One of TRANSFORMS, each as albumentations has it."""
    args: dict[str, Any] = field(default_factory=dict)
    """Its arguments, such as {p: 0.5}; what is not given keeps albumentations' default."""


@dataclass(kw_only=True)
class BatchMixConfig:
    """What the images of a training batch get of each other; an image gets at most one of the two."""

    cutmix: float = 0.0
    """Probability, for each image, that a random rectangle of another image replaces its own, in its target too."""
    copy_paste: float = 0.0
    """Probability, for each image, that the foreground of another image is pasted into it, in its target too."""


@dataclass(kw_only=True)
class AugmentConfig:
    """What is done to training images, in order; never to validation or test images."""

    transforms: list[TransformConfig] = field(default_factory=list)
    """One after the other. A list on the command line replaces that of the choice."""
    batch: BatchMixConfig = field(default_factory=BatchMixConfig)
    """After the transforms, where the batch is on the device."""


# -------------------------------------------------------------------------------- after training
@dataclass(kw_only=True)
class ShapesConfig:
    """Candidates for what the decision does to the shape of a mask; each axis is off while it holds nothing but 0."""

    fill_holes: list[int] = field(default_factory=lambda: [0])
    """Candidates, in pixels: holes of at most so many are filled, such as [0, 50, 1000000]; the last fills all."""
    min_component: list[int] = field(default_factory=lambda: [0])
    """Candidates, in pixels: components with fewer are taken away. `min_areas` asks the whole mask after that."""
    largest: list[int] = field(default_factory=lambda: [0])
    """Candidates: so many components are kept, the largest ones; 0 keeps all."""


@dataclass(kw_only=True)
class InferenceConfig:
    """Probabilities and the decision that turns them into masks."""

    views: list[str] = field(default_factory=lambda: ["identity", "hflip"])
    """Test-time views whose probabilities are averaged: of VIEWS, or one of these at a scale, such as `hflip@0.75`."""
    mean: str = "probs"
    """What is averaged over networks (folds, snapshots, the network of all images), of MEANS. `configs/inference` says
    logits: their mean is about as sure as one network, on which the decision was tuned; that of probabilities is less
    sure. Runs begun before there was this key are means of probabilities."""
    tune_for: str = "precision_tgs"
    """The out-of-fold score that the decision maximises; of MONITORS."""
    thresholds: list[float] = field(default_factory=lambda: [round(0.2 + 0.02 * step, 2) for step in range(31)])
    """Candidates for the probability above which a pixel is foreground."""
    min_areas: list[int] = field(default_factory=lambda: [0, 5, 10, 20, 35, 50, 75, 100])
    """Candidates, in pixels: masks with fewer foreground pixels become empty."""
    empty_gates: list[float] = field(default_factory=lambda: [0.0, 0.6, 0.7, 0.8, 0.9, 0.95])
    """Candidates: images whose highest probability stays below the gate become empty; 0 is no gate."""
    presence_gates: list[float] = field(default_factory=lambda: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    """Candidates: images whose probability of any foreground (`model.heads.empty`) stays below the gate become empty; 0
    is no gate. They say nothing where the networks have no such head, or not all runs of an ensemble do."""
    tune: ShapesConfig = field(default_factory=ShapesConfig)
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
    """Folder of all runs; relative to the folder `make` is called in."""
    seed: int = 0
    """Of the first weights, the order of the images, augmentation and dropout. The folds have a seed of their own."""
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
    forecast: ForecastConfig = field(default_factory=ForecastConfig)


def own_keys(entry: type[RunConfig]) -> set[str]:
    """The keys that `entry` has beside those of a run."""
    return {item.name for item in fields(entry)} - {item.name for item in fields(RunConfig)}


@dataclass(kw_only=True)
class SubmitConfig(RunConfig):
    """A run's submission, and whether it is handed in. What a run does not have is no part of its frozen config."""

    message: str | None = None
    """Hand the proven file to Kaggle's command line with these words; null: only write it."""
    again: bool = False
    """Hand in a file that was handed in before."""


@dataclass(kw_only=True)
class ImportConfig(RunConfig):
    """An archive → a data set in its layout. The keys of a run are there since a dataset may set them."""

    archive: str = MISSING
    """A .zip or .tar file, or a folder with such files and CSVs; unpacked to `dataset.root`."""


@dataclass(kw_only=True)
class LrConfig(RunConfig):
    """A learning-rate range test with the settings of a run."""

    steps: int = 100
    """Optimizer steps, each at a rate that is the same multiple of the one before."""
    low: float = 1e-7
    """The first rate."""
    high: float = 1.0
    """The last rate, where the loss has not diverged before."""
    phase: str | None = None
    """The phase whose loss it is; null: the first."""
