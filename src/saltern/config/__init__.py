"""The whole run as typed dataclasses; Hydra's objects stay inside this package and `scripts/`."""

from saltern.config.datasets import (
    DatasetConfig,
    FolderConfig,
    SampleConfig,
    SubmissionConfig,
    TgsConfig,
    VocConfig,
)
from saltern.config.explain import explain, refuse_surprises
from saltern.config.frozen import contradictions, differences, freeze, later_wins, refuse_contradictions, reopen, thaw
from saltern.config.losses import LOSS_PARAMS, LossTerm
from saltern.config.resolve import (
    CONFIG_DIR,
    compose_config,
    register,
    resolve,
)
from saltern.config.schema import (
    AugmentConfig,
    CompareConfig,
    DownloadConfig,
    EnsembleConfig,
    FoldsConfig,
    ImportConfig,
    InferenceConfig,
    ModelConfig,
    OptimConfig,
    PhaseConfig,
    RunConfig,
    ScheduleConfig,
    ScoreConfig,
    SmpConfig,
    TrainerConfig,
    TransformConfig,
)
from saltern.errors import ConfigError

__all__ = [
    "CONFIG_DIR",
    "LOSS_PARAMS",
    "AugmentConfig",
    "CompareConfig",
    "ConfigError",
    "DatasetConfig",
    "DownloadConfig",
    "EnsembleConfig",
    "FolderConfig",
    "FoldsConfig",
    "ImportConfig",
    "InferenceConfig",
    "LossTerm",
    "ModelConfig",
    "OptimConfig",
    "PhaseConfig",
    "RunConfig",
    "SampleConfig",
    "ScheduleConfig",
    "ScoreConfig",
    "SmpConfig",
    "SubmissionConfig",
    "TgsConfig",
    "TrainerConfig",
    "TransformConfig",
    "VocConfig",
    "compose_config",
    "contradictions",
    "differences",
    "explain",
    "freeze",
    "later_wins",
    "refuse_contradictions",
    "refuse_surprises",
    "register",
    "reopen",
    "resolve",
    "thaw",
]
