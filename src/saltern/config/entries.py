"""What the entry points other than a run take, as typed dataclasses."""

from dataclasses import dataclass, field

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
    runs: list[str] = MISSING
    weights: list[float] | None = None
    """One positive number a run; null: equal."""
    outputs: str = "outputs"
    root: str | None = None
    """Where the data set lies now; null: where the runs found it."""
    overwrite: bool = False
    insist: bool = False
    """Average runs over images whose files differ (not their truths), or of folds that divide the images differently;
    the report says so at its top."""


@dataclass(kw_only=True)
class CompareConfig:
    """Two or more runs side by side; the first is the baseline."""

    name: str = MISSING
    runs: list[str] = MISSING
    outputs: str = "outputs"
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
    root: str | None = None
    """Where the data set lies now; null: where the run found it."""


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


@dataclass(kw_only=True)
class TensorboardConfig:
    """TensorBoard's server over the runs."""

    outputs: str = "outputs"
    name: str | None = None
    """The run to show; null: all of them, side by side."""
    host: str = "localhost"
    """The name or address that it listens at: 0.0.0.0 lets other machines see it, with no password."""
    port: int = 6006
    """1 to 65535; 0: any that is free."""
