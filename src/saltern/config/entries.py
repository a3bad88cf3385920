"""What the entry points other than a run take, as typed dataclasses."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from saltern.config.datasets import SubmissionConfig


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
    """The new run, in `outputs/<name>`."""
    runs: list[str] = MISSING
    """Names of the runs, at least two."""
    how: str = "probs"
    """What is averaged, of ENSEMBLE_MEANS: probabilities, logits, or `vote`, the masks of each run's own decision."""
    weights: Any = "equal"
    """`equal`; a number a run, 0 or more, such as [2,1]; or `fitted`: those with the best out-of-fold score, together
    with the decision. What is fitted for an image has not seen it."""
    calibrate: str = "none"
    """`auto`: runs enter with a monotone map of their logits, fitted out of fold, where that scores higher: for runs
    whose probabilities mean different things, such as after a Lovász loss and cross-entropy. `none`: as they are."""
    outputs: str = "outputs"
    """Folder of all runs."""
    root: str | None = None
    """Where the data set lies now; null: where the runs found it."""
    overwrite: bool = False
    """Make the ensemble anew in place of the run that has this name."""
    insist: bool = False
    """Average runs over images whose files differ (not their truths), or of folds that divide the images differently;
    the report says so at its top."""


@dataclass(kw_only=True)
class CompareConfig:
    """Two or more runs side by side; the first is the baseline."""

    name: str = MISSING
    """The page is `outputs/compare/<name>/report.html`."""
    runs: list[str] = MISSING
    """Names of the runs, at least two."""
    outputs: str = "outputs"
    """Folder of all runs."""
    root: str | None = None
    """Where the data set lies now; null: where the runs found it."""
    score: str = "precision_tgs"
    """The column of `oof_nested.csv` that is compared: iou, dice or precision_tgs."""
    insist: bool = False
    """Compare runs over images whose files differ; different truths are refused all the same."""


@dataclass(kw_only=True)
class SeedsConfig:
    """A finished run's recipe, trained again with other seeds."""

    name: str = MISSING
    """The run; that of seed 1 is NAME_seed1."""
    seeds: list[int] = MISSING
    """Different whole numbers of 0 or more; the run's own seed is there already."""
    outputs: str = "outputs"
    """Folder of all runs."""
    root: str | None = None
    """Where the data set lies now; null: where the run found it."""


@dataclass(kw_only=True)
class ScoreConfig:
    """A submission CSV against a truth CSV of the same form."""

    submission: str = MISSING
    """The CSV that is graded."""
    truth: str = MISSING
    """The CSV with the right answer, in the same form."""
    images: str | None = None
    """Folder of the images, whose sizes say where a mask ends; null: test/images beside the truth, if there is one."""
    outside: str = "error"
    """Runs past an image's end are an `error`, as Kaggle has it, or `count` as false positives."""
    format: SubmissionConfig = field(default_factory=SubmissionConfig)
    """One of the forms under `configs/submission`, such as format=siim; each of its keys can be overridden."""


@dataclass(kw_only=True)
class ValidateConfig:
    """Any submission CSV, whoever wrote it, examined row by row."""

    submission: str = MISSING
    """The CSV that is examined."""
    name: str | None = None
    """The run whose images are submitted: it gives ids, sizes and form."""
    sample_submission: str | None = None
    """In place of a run: the competition's own file, whose ids are expected."""
    images: str | None = None
    """Folder of the images, whose sizes say where a mask ends; null: unknown, unless a run or `size` tells."""
    size: list[int] | None = None
    """[height, width] where all images have the same."""
    outputs: str = "outputs"
    """Where the run lies."""
    root: str | None = None
    """Where the run's data set lies now; null: where the run found it."""
    most: int = 10
    """Problems of one kind that are shown; the others are counted."""
    format: SubmissionConfig = field(default_factory=SubmissionConfig)
    """One of the forms under `configs/submission`, such as format=siim; each of its keys can be overridden."""


@dataclass(kw_only=True)
class RunsConfig:
    """Every run below a folder: its score, its cost, and what sets it apart."""

    outputs: str = "outputs"
    """Where the runs lie."""
    against: str | None = None
    """The run, by its path below `outputs`, that the others are set against; null: the best of those that can be."""


@dataclass(kw_only=True)
class TensorboardConfig:
    """TensorBoard's server over the runs."""

    outputs: str = "outputs"
    """Where the runs lie."""
    name: str | None = None
    """The run to show; null: all of them, side by side."""
    host: str = "localhost"
    """The name or address that it listens at: 0.0.0.0 lets other machines see it, with no password."""
    port: int = 6006
    """1 to 65535; 0: any that is free."""
