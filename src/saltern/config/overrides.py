"""Overrides as they are meant: text that Hydra's grammar cannot read, or takes for something else, put into quotes."""

import re
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Sweep
from hydra.errors import HydraException

from saltern.config import entries, handing_over, laboratory, prediction, schema

ENTRIES = (
    schema.RunConfig,
    schema.ImportConfig,
    schema.LrConfig,
    prediction.PredictConfig,
    laboratory.LaboratoryConfig,
    entries.DownloadConfig,
    entries.EnsembleConfig,
    entries.CompareConfig,
    entries.SeedsConfig,
    entries.ScoreConfig,
    schema.SubmitConfig,
    entries.ValidateConfig,
    entries.RunsConfig,
    entries.TensorboardConfig,
    handing_over.BundleConfig,
    handing_over.ExportConfig,
)
"""The config of every script."""

GROUPS = ("experiment", *(item.name for item in fields(schema.RunConfig) if is_dataclass(item.type)))
"""Keys whose value is the name of a file under `configs/`."""

_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_IN_LISTS = re.compile(rf"{_QUOTED}|[\[\],]|[^\[\],'\"]+")
_IN_SETS = re.compile(rf"{_QUOTED}|[\[\]{{}},:]|[^\[\]{{}},:'\"]+")
_CHOICES = re.compile(rf"{_QUOTED}|,|[^,'\"]+")


def as_meant(override: str, *, multirun: bool = False) -> str:
    """`override` so that Hydra reads what was written; what it cannot read even so comes back as it is.

    Hydra takes `name=2024_11_21` for the number 20241121, and cannot read `name=jürgen` or `outputs=a[b]` at all.
    Lists, sets of keys, interpolations, quoted text and, with `multirun`, the choices between commas keep their
    meaning; only words in them that need it are quoted.
    """
    key, equals, value = override.partition("=")
    if not equals or not value.strip():
        return override
    texts = _is_text(annotation(key.lstrip("+"))) or key.lstrip("+") in GROUPS
    begin = value.lstrip()[0]
    if begin in "'\"":
        return override
    if begin in "[{":
        pattern = _IN_SETS if "{" in value else _IN_LISTS
        meant = pattern.sub(lambda word: _word(word[0], texts), value)
    elif multirun and ("," in value or isinstance(_read(override), Sweep)):
        plain = "(" not in value  # choice(…), range(…) and the like are Hydra's
        meant = _CHOICES.sub(lambda word: _word(word[0], texts), value) if plain else value
    else:
        meant = _text(value, texts)
    return f"{key}={meant}" if _read(f"{key}={meant}") is not _NOTHING else override


def annotation(full_key: str, owner: Any = None) -> Any:
    """The type that the schemas give a key, such as `int` or `str | None`; None where they give none.

    `owner` is the dataclass that holds the key, where it is known.
    """
    if is_dataclass(owner):
        return _annotation(full_key.rpartition(".")[2], owner)
    found = [_annotation(full_key, entry) for entry in ENTRIES]
    return next((item for item in found if item is not None and not is_dataclass(item)), None)


def _annotation(full_key: str, owner: Any) -> Any:
    cls: Any = owner
    for part in full_key.split("."):
        if get_origin(cls) is dict and is_dataclass(get_args(cls)[1]):  # the phases, by their names
            cls = get_args(cls)[1]
            continue
        if not isinstance(cls, type) or not is_dataclass(cls):
            return None
        # a key of one layout or one kind of model stands only in a subclass
        cls = {item.name: item.type for sub in (*cls.__subclasses__(), cls) for item in fields(sub)}.get(part)
    return cls


def _is_text(found: Any) -> bool:
    """Whether values of the type, or the items of its lists, are text."""
    options = get_args(found) if isinstance(found, UnionType) else (found,)
    return str in options or any(get_origin(item) is list and get_args(item) == (str,) for item in options)


_NOTHING = object()


def _read(override: str) -> Any:
    """The value as Hydra reads it; _NOTHING where it cannot."""
    try:
        return OverridesParser.create().parse_override(override).value()
    except HydraException:
        return _NOTHING


def _word(word: str, text: bool) -> str:
    if word[0] in "'\"[]{},:" or not word.strip():
        return word
    before, after = word[: len(word) - len(word.lstrip())], word[len(word.rstrip()) :]
    return before + _text(word.strip(), text) + after


def _text(value: str, text: bool) -> str:
    """`value` in quotes where Hydra cannot read it, or where it is meant as `text` and would be a number or a sweep."""
    value = value.strip(" \t")  # as Hydra does with what it can read
    found = _read(f"key={value}")
    if found is None or isinstance(found, str) or (found is not _NOTHING and not text):
        return value
    escaped = re.sub(r"(\\*)('|$)", lambda end: 2 * end[1] + (r"\'" if end[2] else ""), value)
    return f"'{escaped}'"
