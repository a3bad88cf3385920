"""The whole run as typed dataclasses; Hydra's objects stay inside this package and `scripts/`."""

from saltern.config.datasets import (
    DatasetConfig,
    FolderConfig,
    SampleConfig,
    SubmissionConfig,
    TgsConfig,
    VocConfig,
)
from saltern.config.entries import (
    CompareConfig,
    DownloadConfig,
    EnsembleConfig,
    RunsConfig,
    ScoreConfig,
    SeedsConfig,
    TensorboardConfig,
    ValidateConfig,
)
from saltern.config.explain import explain, refuse_bytes, refuse_surprises
from saltern.config.frozen import (
    contradictions,
    differences,
    fingerprint,
    freeze,
    later_wins,
    recorded_overrides,
    refuse_contradictions,
    reopen,
    settings_of,
    states,
    thaw,
)
from saltern.config.handing_over import BundleConfig, ExportConfig
from saltern.config.laboratory import LaboratoryConfig, SearchConfig
from saltern.config.losses import LOSS_PARAMS, LossTerm
from saltern.config.networks import DeepLabV2Config, HeadsConfig, ModelConfig, SmpConfig
from saltern.config.overrides import as_meant
from saltern.config.prediction import PredictConfig
from saltern.config.resolve import (
    CONFIG_DIR,
    compose_config,
    register,
    resolve,
)
from saltern.config.schema import (
    AugmentConfig,
    BatchMixConfig,
    FoldsConfig,
    ImportConfig,
    InferenceConfig,
    LrConfig,
    RunConfig,
    SubmitConfig,
    TransformConfig,
    own_keys,
)
from saltern.config.training import ALL_IMAGES, AUTO, OptimConfig, PhaseConfig, ScheduleConfig, TrainerConfig
from saltern.config.views import parse_view
from saltern.errors import ConfigError

__all__ = [
    "ALL_IMAGES",
    "AUTO",
    "CONFIG_DIR",
    "LOSS_PARAMS",
    "AugmentConfig",
    "BatchMixConfig",
    "BundleConfig",
    "CompareConfig",
    "ConfigError",
    "DatasetConfig",
    "DeepLabV2Config",
    "DownloadConfig",
    "EnsembleConfig",
    "ExportConfig",
    "FolderConfig",
    "FoldsConfig",
    "HeadsConfig",
    "ImportConfig",
    "InferenceConfig",
    "LaboratoryConfig",
    "LossTerm",
    "LrConfig",
    "ModelConfig",
    "OptimConfig",
    "PhaseConfig",
    "PredictConfig",
    "RunConfig",
    "RunsConfig",
    "SampleConfig",
    "ScheduleConfig",
    "ScoreConfig",
    "SearchConfig",
    "SeedsConfig",
    "SmpConfig",
    "SubmissionConfig",
    "SubmitConfig",
    "TensorboardConfig",
    "TgsConfig",
    "TrainerConfig",
    "TransformConfig",
    "ValidateConfig",
    "VocConfig",
    "as_meant",
    "compose_config",
    "contradictions",
    "differences",
    "explain",
    "fingerprint",
    "freeze",
    "later_wins",
    "own_keys",
    "parse_view",
    "recorded_overrides",
    "refuse_bytes",
    "refuse_contradictions",
    "refuse_surprises",
    "register",
    "reopen",
    "resolve",
    "settings_of",
    "states",
    "thaw",
]
