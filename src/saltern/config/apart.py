"""What sets frozen configs apart: key by key, read as they stand, so that two hundred of them take a moment."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from saltern.config import frozen, schema
from saltern.errors import ConfigError

Leaves = Mapping[str, Any]
"""Dotted key → value."""

_UNSAID = ("name", "outputs", "overwrite", "forecast", "dataset.cache", "dataset.cache_mb", "dataset.cache_dir")
"""Keys that say where a run lies and is kept; how it was computed may matter and is told."""


def frozen_leaves(path: Path) -> dict[str, Any]:
    """The values of the config frozen at `path`, unchecked; with the default where it lacks a key of this version.

    Raises:
        RunError: it is missing, or no config of a run.
    """
    with frozen.unreadable(path):
        content = yaml.load(frozen.plain_text(path), frozen.LOADER)
        if not isinstance(content, dict) or not isinstance(content.get("dataset"), dict):
            raise ConfigError("it holds no dataset")
        leaves = frozen.flat(content)
        return {**_defaults(content, leaves), **leaves}


def apart(reference: Leaves, other: Leaves) -> dict[str, tuple[Any, Any]]:
    """Dotted key → (its value in `reference`, in `other`), for those that differ and say more than where a run lies."""
    keys = [*reference, *(key for key in other if key not in reference)]
    return {
        key: (reference.get(key), other.get(key))
        for key in keys
        if reference.get(key) != other.get(key) and not frozen.is_below(key, _UNSAID)
    }


def _defaults(content: Mapping[str, Any], leaves: Leaves) -> dict[str, Any]:
    """The defaults of keys that an earlier version did not know, of the groups that `content` has."""
    found: dict[str, Any] = {}
    for item in fields(schema.RunConfig):
        part = content.get(item.name)
        if not isinstance(part, dict) or not is_dataclass(item.type):
            continue
        cls: Any = item.type
        if item.name in frozen.VARIANTS:
            key, classes = frozen.VARIANTS[item.name]
            cls = classes.get(str(part.get(key)), cls)
        found |= _of_group(item.name, cls)
    below = tuple(leaves)
    return {key: value for key, value in found.items() if value != "???" and not _holds(below, key)}


_KNOWN: dict[tuple[str, type], dict[str, Any]] = {}


def _of_group(group: str, cls: type) -> dict[str, Any]:
    if (group, cls) not in _KNOWN:
        _KNOWN[group, cls] = frozen.flat({group: OmegaConf.to_container(OmegaConf.structured(cls))})
    return _KNOWN[group, cls]


def _holds(keys: tuple[str, ...], key: str) -> bool:
    """Whether a config says something at, above or below `key`."""
    return any(own == key or own.startswith(f"{key}.") or key.startswith(f"{own}.") for own in keys)
