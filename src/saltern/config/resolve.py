"""From Hydra's composed config to plain, checked dataclasses, and to the frozen file of a run and back."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from saltern.config import schema
from saltern.config.checks import check_run, check_submission
from saltern.errors import ConfigError, RunError, unknown

CONFIG_DIR = Path(__file__).resolve().parents[3] / "configs"
"""The project's `configs/` folder (the package is installed in place, with `pip install -e .`)."""

SCHEMAS: dict[str, dict[str, type]] = {
    "": {
        "run_schema": schema.RunConfig,
        "ensemble_schema": schema.EnsembleConfig,
        "compare_schema": schema.CompareConfig,
        "score_schema": schema.ScoreConfig,
        "submission_schema": schema.SubmissionConfig,  # in no group: see compose_config
    },
    "dataset": {
        "sample_schema": schema.SampleConfig,
        "tgs_schema": schema.TgsConfig,
        "voc_schema": schema.VocConfig,
        "folder_schema": schema.FolderConfig,
    },
    "folds": {"folds_schema": schema.FoldsConfig},
    "augment": {"augment_schema": schema.AugmentConfig},
    "model": {"smp_schema": schema.SmpConfig},
    "schedule": {"schedule_schema": schema.ScheduleConfig},
    "optim": {"optim_schema": schema.OptimConfig},
    "trainer": {"trainer_schema": schema.TrainerConfig},
    "inference": {"inference_schema": schema.InferenceConfig},
}
"""Group → schema name as used in the `defaults` of its YAML files → dataclass."""

VARIANTS: dict[str, tuple[str, dict[str, type]]] = {
    "dataset": (
        "layout",
        {
            "sample": schema.SampleConfig,
            "tgs": schema.TgsConfig,
            "voc": schema.VocConfig,
            "folder": schema.FolderConfig,
        },
    ),
    "model": ("kind", {"smp": schema.SmpConfig}),
}
"""Group with several schemas → the key that tells them apart, and what each of its values stands for."""


def register() -> None:
    """Make the schemas known to Hydra; call once before composing."""
    store = ConfigStore.instance()
    for group, members in SCHEMAS.items():
        for name, cls in members.items():
            store.store(group=group or None, name=name, node=cls)


def resolve(raw: DictConfig) -> Any:
    """The composed config as its dataclass (RunConfig, ScoreConfig, …), checked.

    Raises:
        ConfigError: a missing value, or one that a check refuses.
    """
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
    if isinstance(config, schema.ScoreConfig):
        check_submission(config.format, "format")
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

    `score` lies in a folder of its own: beside the group `submission/`, Hydra would take
    `submission=FILE` for the choice of a group.
    """
    register()
    folder = CONFIG_DIR / "score" if entry == "score" else CONFIG_DIR
    with initialize_config_dir(str(folder), version_base="1.3"):
        return resolve(compose(entry, overrides=overrides))


def freeze(config: schema.RunConfig) -> str:
    """The YAML text of `config.yaml`; `thaw` reads it back to an equal object."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def thaw(path: Path) -> schema.RunConfig:
    """The run config frozen at `path`.

    Raises:
        RunError: there is no such run, or its config does not fit this version of Saltern.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file. Is name= right? `make folds` or `make train` begins a run.")
    content = OmegaConf.load(path)
    assert isinstance(content, DictConfig)
    base = OmegaConf.structured(schema.RunConfig)
    try:
        for group, (key, classes) in VARIANTS.items():
            base[group] = OmegaConf.structured(classes[content[group][key]])
        for item in fields(schema.RunConfig):
            if is_dataclass(item.type) and item.name not in VARIANTS:
                base[item.name] = OmegaConf.structured(item.type)
        merged = OmegaConf.merge(base, content)
        config = resolve(merged)  # type: ignore[arg-type]
    except (OmegaConfBaseException, KeyError, TypeError, ConfigError) as error:
        raise RunError(f"{path}: not a run config of this version of Saltern: {error}") from error
    assert isinstance(config, schema.RunConfig)
    return config


def differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Dotted key → (old value, new value) for every leaf in which two configs differ."""
    flat_old, flat_new = (_flat(OmegaConf.to_container(OmegaConf.structured(item))) for item in (old, new))
    keys = [*flat_old, *(key for key in flat_new if key not in flat_old)]
    return {key: (flat_old.get(key), flat_new.get(key)) for key in keys if flat_old.get(key) != flat_new.get(key)}


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def later_wins(first: list[str], second: list[str]) -> list[str]:
    """The overrides of both lists; where both set one key, only that of `second` stays (Hydra takes no key twice)."""
    parser = OverridesParser.create()
    taken = {item.key_or_group for item in parser.parse_overrides(second)}
    kept = [text for text in first if parser.parse_override(text).key_or_group not in taken]
    return [*kept, *second]
