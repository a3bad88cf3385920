"""From Hydra's composed config to plain, checked dataclasses."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from saltern.config import datasets, entries, forecast, networks, schema, training
from saltern.config.checks import check_lr, check_run, check_score, check_seeds
from saltern.config.places import settle_places
from saltern.errors import ConfigError, unknown

CONFIG_DIR = Path(__file__).resolve().parents[3] / "configs"
"""The project's `configs/` folder (the package is installed in place, with `pip install -e .`)."""

SCHEMAS: dict[str, dict[str, type]] = {
    "": {
        "run_schema": schema.RunConfig,
        "import_schema": schema.ImportConfig,
        "lr_schema": schema.LrConfig,
        "download_schema": entries.DownloadConfig,
        "ensemble_schema": entries.EnsembleConfig,
        "compare_schema": entries.CompareConfig,
        "seeds_schema": entries.SeedsConfig,
        "score_schema": entries.ScoreConfig,
        "tensorboard_schema": entries.TensorboardConfig,
        "submission_schema": datasets.SubmissionConfig,  # in no group: see compose_config
    },
    "dataset": {
        "sample_schema": datasets.SampleConfig,
        "tgs_schema": datasets.TgsConfig,
        "voc_schema": datasets.VocConfig,
        "folder_schema": datasets.FolderConfig,
    },
    "folds": {"folds_schema": schema.FoldsConfig},
    "augment": {"augment_schema": schema.AugmentConfig},
    "model": {"smp_schema": networks.SmpConfig, "deeplabv2_schema": networks.DeepLabV2Config},
    "schedule": {"schedule_schema": training.ScheduleConfig},
    "optim": {"optim_schema": training.OptimConfig},
    "trainer": {"trainer_schema": training.TrainerConfig},
    "inference": {"inference_schema": schema.InferenceConfig},
    "forecast": {"forecast_schema": forecast.ForecastConfig},
}
"""Group → schema name as used in the `defaults` of its YAML files → dataclass."""


def register() -> None:
    """Make the schemas known to Hydra; call once before composing."""
    store = ConfigStore.instance()
    for group, members in SCHEMAS.items():
        for name, cls in members.items():
            node = OmegaConf.structured(cls)
            if cls is networks.SmpConfig:  # what a library takes beyond our keys may be given without a plus sign
                OmegaConf.set_struct(node.options, False)
            store.store(group=group or None, name=name, node=node)


def resolve(raw: DictConfig) -> Any:
    """The composed config as its dataclass (RunConfig, ScoreConfig, …), checked, with names and paths that can be.

    Raises:
        ConfigError: a missing value, or one that a check refuses.
    """
    config = checked(raw)
    settle_places(config)
    return config


def checked(raw: DictConfig) -> Any:
    """`resolve`, for a config of another time and place, whose paths may lead nowhere here."""
    _refuse_strangers(raw)
    try:
        config = OmegaConf.to_object(raw)
    except MissingMandatoryValue as error:
        key = getattr(error, "full_key", None) or "?"
        raise ConfigError(f"{key} has no value; give it, for example {key}=…") from None
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    if isinstance(config, schema.RunConfig):
        check_run(config)
    if isinstance(config, schema.LrConfig):
        check_lr(config)
    if isinstance(config, entries.ScoreConfig):
        check_score(config)
    if isinstance(config, entries.SeedsConfig):
        check_seeds(config)
    return config


def _refuse_strangers(node: DictConfig, path: str = "") -> None:
    """Hydra lets `+key=…` add any key, even to a dataclass, where nothing would ever read it."""
    cls = OmegaConf.get_type(node)
    known = [item.name for item in fields(cls)] if cls is not None and is_dataclass(cls) else None
    for key in node:
        full = f"{path}.{key!s}" if path else str(key)
        if known is not None and key not in known and full != "hydra":
            raise ConfigError(f"{full}: {unknown('key', str(key), known)}")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_missing() and not child._is_none():
            _refuse_strangers(child, full)


def compose_config(entry: str, overrides: list[str]) -> Any:
    """What `make <stage> <overrides>` would resolve to, for tests, notebooks and checks against frozen runs.

    `score` lies in `grading/`: beside the group `submission/`, Hydra would take
    `submission=FILE` for the choice of a group.
    """
    register()
    if GlobalHydra.instance().is_initialized():  # inside a script, where Hydra runs already
        return resolve(compose(entry, overrides=overrides))
    folder = CONFIG_DIR / "grading" if entry == "score" else CONFIG_DIR
    with initialize_config_dir(str(folder), version_base="1.3"):
        return resolve(compose(entry, overrides=overrides))
