"""Hydra's and OmegaConf's errors in our words: which key, what came, what was expected, the nearest name."""

import re
from dataclasses import fields
from typing import Any

from hydra.errors import (
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    OmegaConfBaseException,
    ValidationError,
)

from saltern.config import resolve, schema
from saltern.config.overrides import GROUPS, annotation
from saltern.config.places import LONGEST_NAME
from saltern.errors import ConfigError, unknown

_GROUPS = [item.name for item in fields(schema.RunConfig)]


def explain(error: HydraException | OmegaConfBaseException) -> ConfigError:
    """The ConfigError that says what `error` means for the user."""
    cause = error.__cause__ or error
    if isinstance(error, MissingConfigException):
        return _unknown_choice(error)
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"cannot read the override {_shown(str(error.override))}. Expected key=value, where a list is [a,b], a set "
            "of keys {a: 1}, and text that looks like either stands in quotes: \"key='value'\" for the shell."
        )
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return _unknown_key(cause)
    text = str(cause if isinstance(cause, OmegaConfBaseException) else error)
    if isinstance(cause, ValidationError):
        key = str(cause.full_key)
        hint = _expected(key, cause.object_type)
        if "PhaseConfig" in text:
            hint = " A phase is added in a file under configs/schedule."
        return ConfigError(f"{key}: {text.splitlines()[0].rstrip('.')}.{hint}")
    group = re.search(r"Could not override '([\w.@/]+)'\.\s*No match in the defaults list", text)
    if group:
        text = unknown("key or group", group.group(1), _GROUPS)
    return ConfigError(" ".join(line.strip() for line in text.splitlines() if line.strip()))


def _unknown_choice(error: MissingConfigException) -> ConfigError:
    """`dataset=tsg`: a group without that file."""
    missing = error.missing_cfg_file or ""
    group, _, name = missing.rpartition("/")
    schemas = set(resolve.SCHEMAS.get(group, ()))  # Hydra lists them among the options
    known = [option for option in (error.options or []) if option not in schemas]
    if known:
        return ConfigError(f"{group}={name}: {unknown(group, name, known)}")
    return ConfigError(str(error).splitlines()[0])


def _unknown_key(cause: ConfigAttributeError | ConfigKeyError) -> ConfigError:
    full = str(cause.full_key or cause.key)
    parent, _, key = full.rpartition(".")
    node: Any = cause.parent_node
    siblings = [str(name) for name in node if str(name) != "hydra"] if node is not None else []
    if ".loss" in parent:
        return _merged_loss(parent[: parent.index(".loss") + 5], key)
    return ConfigError(f"{full}: {unknown(f'key of {parent}' if parent else 'key', key, siblings)}")


def _merged_loss(key: str, name: str) -> ConfigError:
    return ConfigError(
        f"{key}: the command line merges {{…}} into the loss that is there. To put another in its place, write a sum "
        f"such as {key}=0.5*{name}+0.5*bce, with parameters {key}='tversky(alpha=0.3,beta=0.7)'."
    )


def refuse_bytes(arguments: list[str]) -> None:
    """Raise a ConfigError for an argument that is no text in UTF-8, which no file of a run could record."""
    for argument in arguments:
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in argument):
            raise ConfigError(f"{_shown(argument)}: is no text in UTF-8. Rename the file or folder, or link to it.")


def refuse_surprises(arguments: list[str], *, groups: bool = True) -> None:
    """Refuse overrides that Hydra would take otherwise than they are meant, before it sees them.

    Args:
        arguments: the overrides.
        groups: whether the entry has the groups of a run; in `score`, `submission` is a file.

    Raises:
        ConfigError: `….loss={…}`, which would silently keep the terms that are there, `GROUP=null`, no key,
            a key or choice that no file could be named after, or a number for true or false.
    """
    for argument in arguments:
        key, equals, value = argument.partition("=")
        choice = value if key.lstrip("+") in GROUPS else ""
        if (equals and not key.strip("+~")) or max(len(key.encode()), len(choice.encode())) > LONGEST_NAME:
            raise ConfigError(f"cannot read the override {_shown(argument)}. Expected key=value.")
        if (
            annotation(key.lstrip("+")) is bool
            and re.fullmatch(r"[-+]?\d+", value.strip())
            and int(value) not in (0, 1)
        ):
            raise ConfigError(f"{key}={value}: expected true or false; OmegaConf would take any number but 0 for true.")
        if key.lstrip("+").endswith(".loss") and value.lstrip().startswith("{"):
            raise _merged_loss(key.lstrip("+"), "lovasz_hinge")
        if groups and key in _GROUPS[4:] and value.strip().lower() in ("null", ""):
            raise ConfigError(f"{key}={value}: every run needs one; expected the name of a file under configs/{key}.")


def _expected(full_key: str, owner: Any) -> str:
    """The annotation that the schema gives the key, as `Expected int.`; empty where it gives none."""
    found = annotation(full_key, owner)
    if found is None:
        return ""
    name = getattr(found, "__name__", str(found)) if isinstance(found, type) else str(found)
    return f" Expected {name.replace('None', 'null').replace('typing.Any', 'any')}."


def _shown(text: str) -> str:
    return repr(text if len(text) <= 120 else f"{text[:120]}…")
