"""A run's frozen config: written when the run begins, read by every later stage, contradicted by none."""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from saltern.config import datasets, networks, schema
from saltern.config.resolve import checked, compose_config
from saltern.config.training import AUTO
from saltern.errors import ConfigError, RunError
from saltern.files import read_json

VARIANTS: dict[str, tuple[str, dict[str, type]]] = {
    "dataset": (
        "layout",
        {
            "sample": datasets.SampleConfig,
            "tgs": datasets.TgsConfig,
            "voc": datasets.VocConfig,
            "folder": datasets.FolderConfig,
        },
    ),
    "model": ("kind", {"smp": networks.SmpConfig, "deeplabv2": networks.DeepLabV2Config}),
}
"""Group with several schemas → the key that tells them apart, and what each of its values stands for."""

WHERE_NOT_WHAT = (
    "name",
    "outputs",
    "overwrite",
    "dataset.root",
    "dataset.cache",
    "dataset.cache_mb",
    "dataset.cache_dir",
    "forecast",
    "inference.shard_mb",
    "inference.networks_at_once",
    "submission.competition",
    "trainer.folds",
    "trainer.max_hours",
    "trainer.workers",
    "trainer.eval_batch_size",
    "trainer.precision",
    "trainer.compile",
    "trainer.accelerator",
    "trainer.checkpointing",
    "trainer.pictures_every",
    "trainer.devices",
    "trainer.nodes",
)
"""Keys that say where and how a run is computed, not what: they may differ from the frozen ones.

More devices do change the number of images an optimizer step sees; an interrupted fold goes on all the same.
"""


DEEPEST = 20
"""Of lists and mappings in each other in a frozen config; the time to read more of them is quadratic."""
_UNFIT = (LookupError, TypeError, AttributeError, ValueError, RecursionError)
"""What a mapping of another shape than a run's may raise on its way into the schema."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""YAML's own parser in C where it was built: a table of two hundred runs should not wait for it."""
LARGEST = 128 * 1024
"""Bytes of a frozen config; a usual one has three thousand."""


def freeze(config: schema.RunConfig) -> str:
    """The YAML text of `config.yaml`; `thaw` reads it back to an equal object."""
    content = OmegaConf.to_container(OmegaConf.structured(config), resolve=False)
    return yaml.dump(content, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Puts every text that could be a number into quotes: OmegaConf reads more of them as such than YAML does."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """A text as a scalar."""
        style = "'" if re.fullmatch(r"[-+.\d][-+.\d_eExXa-fA-F:]*", data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


def thaw(path: Path) -> schema.RunConfig:
    """The run config frozen at `path`.

    Raises:
        RunError: there is no such run, or its config does not fit this version of Saltern.
    """
    if not path.is_file():
        raise RunError(f"{path}: no such file. Is name= right? `make folds` or `make train` begins a run.")
    base = OmegaConf.structured(schema.RunConfig)
    with unreadable(path):
        content = _load(path)
        for group, (key, classes) in VARIANTS.items():
            base[group] = OmegaConf.structured(classes[content[group][key]])
        for item in fields(schema.RunConfig):
            if is_dataclass(item.type) and item.name not in VARIANTS:
                base[item.name] = OmegaConf.structured(item.type)
        merged = OmegaConf.merge(base, content)
        config = checked(merged)  # type: ignore[arg-type]
        assert isinstance(config, schema.RunConfig)
        if config.trainer.batch_size == AUTO:
            raise ConfigError("trainer.batch_size='auto': expected the number that was found when the run began")
    return config


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Turn whatever reading the config at `path` raises into a RunError of one line."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror}).") from error
    except (OmegaConfBaseException, YAMLError, *_UNFIT) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"{path}: not a run config of this version of Saltern: {said[:300]}") from error


def _load(path: Path) -> DictConfig:
    """The mapping in a YAML file that `freeze` may have written: small, in plain words, without references.

    References within YAML (`*a`) and within OmegaConf (`${a}`) let a few lines unfold to gigabytes; `freeze` writes
    neither.
    """
    content = OmegaConf.load(io.StringIO(plain_text(path)))
    if not isinstance(content, DictConfig) or not content:
        raise ConfigError("it holds no keys")
    return content


def plain_text(path: Path) -> str:
    """The text of such a file, once it is known to unfold to nothing larger."""
    if path.stat().st_size > LARGEST:
        raise ConfigError(f"it has {path.stat().st_size:,} bytes; expected at most {LARGEST:,}")
    text = path.read_bytes().decode("utf-8")
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(f"it nests values {depth} deep")
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"*{event.anchor} refers to another line; expected every value in full")
        if isinstance(event, yaml.ScalarEvent) and "${" in event.value:
            raise ConfigError(f"{event.value[:80]!r} refers to another value; expected every value in full")
    return text


def recorded_overrides(path: Path) -> list[str]:
    """The overrides that a run was begun with, from its `environment.json`.

    Raises:
        RunError: the file is missing or does not hold them.
    """
    content = read_json(path)
    found = content.get("overrides") if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise RunError(f"{path}: holds no list of texts as `overrides`; put the file back as the run wrote it.")
    return found


def differences(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """Dotted key → (old value, new value) for every leaf in which two configs differ."""
    flat_old, flat_new = (flat(OmegaConf.to_container(OmegaConf.structured(item))) for item in (old, new))
    keys = [*flat_old, *(key for key in flat_new if key not in flat_old)]
    return {key: (flat_old.get(key), flat_new.get(key)) for key in keys if flat_old.get(key) != flat_new.get(key)}


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted key → value of every leaf below `node`."""
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        leaves |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def settings_of(config: schema.RunConfig, parts: Sequence[str]) -> dict[str, Any]:
    """Dotted key → value, of `parts` (groups, or keys) of `config`, of all that says what is computed."""
    leaves = flat(OmegaConf.to_container(OmegaConf.structured(config)))
    return {key: leaf for key, leaf in leaves.items() if is_below(key, parts) and not is_below(key, WHERE_NOT_WHAT)}


def later_wins(first: list[str], second: list[str]) -> list[str]:
    """The overrides of both lists; where both set one key, only that of `second` stays (Hydra takes no key twice)."""
    parser = OverridesParser.create()
    taken = {item.key_or_group for item in parser.parse_overrides(second)}
    kept = [text for text in first if parser.parse_override(text).key_or_group not in taken]
    return [*kept, *second]


def contradictions(old: schema.RunConfig, new: schema.RunConfig) -> dict[str, tuple[Any, Any]]:
    """The differences between two configs of one run that change what it computes.

    A batch size that is to be found is the one that was found.
    """
    changed = {key: values for key, values in differences(old, new).items() if not is_below(key, WHERE_NOT_WHAT)}
    return {key: values for key, values in changed.items() if (key, values[1]) != ("trainer.batch_size", AUTO)}


def fingerprint(path: Path, parts: Sequence[str]) -> str:
    """SHA-256, hexadecimal, of what `parts` (groups, or dotted keys) of the frozen config say about what is computed.

    Of the keys that stand in the file: one that a later version adds, with a default, changes nothing.

    Raises:
        RunError: see `thaw`.
    """
    with unreadable(path):
        content = OmegaConf.to_container(_load(path))
    leaves = {
        key: value for key, value in flat(content).items() if is_below(key, parts) and not is_below(key, WHERE_NOT_WHAT)
    }
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()


def states(path: Path, key: str) -> bool:
    """Whether the config frozen at `path` holds the dotted `key`; an earlier version may not have known it.

    Raises:
        RunError: see `thaw`.
    """
    with unreadable(path):
        return key in flat(OmegaConf.to_container(_load(path)))


def is_below(key: str, parts: Sequence[str]) -> bool:
    """Whether a dotted key is one of `parts`, or lies in one."""
    return any(key == part or key.startswith(f"{part}.") for part in parts)


def reopen(path: Path, recorded: list[str], overrides: list[str]) -> schema.RunConfig:
    """The config frozen at `path`, with the overrides of this call where they say only where to compute.

    Args:
        path: `config.yaml` of the run.
        recorded: The overrides the run was begun with, so that `overrides` are read as an addition to them.
        overrides: Those of this call.

    Raises:
        ConfigError: an override contradicts the frozen config.
    """
    frozen = thaw(path)
    before = compose_config("run", recorded)
    asked = compose_config("run", later_wins(recorded, overrides))
    for config in (before, asked):
        if config.trainer.batch_size == AUTO:
            config.trainer.batch_size = frozen.trainer.batch_size
    parser = OverridesParser.create()
    named = [item.key_or_group for item in parser.parse_overrides(overrides)]
    told = {key: both for key, both in contradictions(frozen, asked).items() if is_below(key, named)}
    refuse_contradictions(path, {**told, **contradictions(before, asked)})
    for key in differences(before, asked):  # all of them say where, else they had been refused
        group, _, name = key.rpartition(".")
        source, target = (attrgetter(group)(config) if group else config for config in (asked, frozen))
        setattr(target, name, getattr(source, name))
    frozen.name, frozen.outputs = asked.name, asked.outputs
    return frozen


def refuse_contradictions(path: Path, changed: dict[str, tuple[Any, Any]]) -> None:
    """Raise a ConfigError that lists what was frozen at `path` and what was asked for, where they differ."""
    if not changed:
        return
    lines = [f"  {key}: {old!r} in the run, {new!r} asked for" for key, (old, new) in changed.items()]
    raise ConfigError(
        f"{path}: this run was begun with other settings:\n" + "\n".join(lines) + "\n"
        "Give the new settings a run of their own (name=…), or leave the overrides out."
    )
