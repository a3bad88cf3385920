"""From Hydra's composed config to plain, checked dataclasses."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from saltern.config import datasets, entries, forecast, handing_over, laboratory, networks, prediction, schema, training
from saltern.config.blending import check_ensemble
from saltern.config.checks import check_lr, check_run, check_score, check_seeds
from saltern.config.forms import check_submit, check_validate
from saltern.config.places import settle_places
from saltern.errors import ConfigError, unknown

CONFIG_DIR = Path(__file__).resolve().parents[3] / "configs"
"""The project's `configs/` folder (the package is installed in place, with `pip install -e .`)."""

SCHEMAS: dict[str, dict[str, type]] = {
    "": {
        "run_schema": schema.RunConfig,
        "import_schema": schema.ImportConfig,
        "lr_schema": schema.LrConfig,
        "predict_schema": prediction.PredictConfig,
        "bundle_schema": handing_over.BundleConfig,
        "export_schema": handing_over.ExportConfig,
        "losses_schema": laboratory.LaboratoryConfig,
        "download_schema": entries.DownloadConfig,
        "ensemble_schema": entries.EnsembleConfig,
        "compare_schema": entries.CompareConfig,
        "seeds_schema": entries.SeedsConfig,
        "score_schema": entries.ScoreConfig,
        "submit_schema": schema.SubmitConfig,
        "validate_schema": entries.ValidateConfig,
        "runs_schema": entries.RunsConfig,
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


CHECKS: tuple[tuple[type, Callable[[Any], None]], ...] = (
    (schema.RunConfig, check_run),
    (schema.LrConfig, check_lr),
    (schema.SubmitConfig, check_submit),
    (prediction.PredictConfig, prediction.check_predict),
    (handing_over.BundleConfig, handing_over.check_bundle),
    (handing_over.ExportConfig, handing_over.check_export),
    (laboratory.LaboratoryConfig, laboratory.check_laboratory),
    (entries.EnsembleConfig, check_ensemble),
    (entries.ScoreConfig, check_score),
    (entries.ValidateConfig, check_validate),
    (entries.SeedsConfig, check_seeds),
)
"""What is asked of a config beyond the types of its keys; a config is asked all that its classes are."""


GRADERS = ("score", "validate")
"""The entries in `configs/grading/`: beside the group `submission/`, Hydra would take `submission=FILE` for the choice
of a group. They alone have the forms of submissions as a group of their own, `format`."""


def register(*, forms: bool = False) -> None:
    """Make the schemas known to Hydra, to be called before composing; `forms`: also the group `format` of GRADERS."""
    _store_schemas()
    store = ConfigStore.instance()
    store.repo.pop("format", None)
    for path in sorted((CONFIG_DIR / "submission").glob("*.yaml")) if forms else ():
        store.store(group="format", name=path.stem, node=_form(path))


@cache
def _store_schemas() -> None:
    store = ConfigStore.instance()
    for group, members in SCHEMAS.items():
        for name, cls in members.items():
            node = OmegaConf.structured(cls)
            if cls is networks.SmpConfig:  # what a library takes beyond our keys may be given without a plus sign
                OmegaConf.set_struct(node.options, False)
            if cls is datasets.SubmissionConfig:  # its constants are columns of any name
                OmegaConf.set_struct(node.constants, False)
            if cls is laboratory.LaboratoryConfig:  # a loss of one's own is added to the list
                OmegaConf.set_struct(node.losses, False)
            store.store(group=group or None, name=name, node=node)


def _form(path: Path) -> DictConfig:
    """A file of the group `submission/` for the entries that have a key `format`."""
    own = OmegaConf.load(path)
    assert isinstance(own, DictConfig), path
    own.pop("defaults")
    form = OmegaConf.merge(OmegaConf.structured(datasets.SubmissionConfig), own)
    assert isinstance(form, DictConfig), path
    OmegaConf.set_struct(form.constants, False)
    return form


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
    for cls, check in CHECKS:
        if isinstance(config, cls):
            check(config)
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
    """What `make <stage> <overrides>` would resolve to, for tests, notebooks and checks against frozen runs."""
    register(forms=entry in GRADERS)
    if GlobalHydra.instance().is_initialized():  # inside a script, where Hydra runs already
        return resolve(compose(entry, overrides=overrides))
    folder = CONFIG_DIR / "grading" if entry in GRADERS else CONFIG_DIR
    with initialize_config_dir(str(folder), version_base="1.3"):
        return resolve(compose(entry, overrides=overrides))
