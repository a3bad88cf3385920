"""A frozen configuration in a few readable lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Fact:
    """One line of the page's table."""

    label: str
    value: str


def phases_in(facts: Sequence[Fact]) -> dict[str, str]:
    """Name of a phase → what it does, in words; empty for text that is no configuration."""
    return {fact.label.removeprefix("phase "): fact.value for fact in facts if fact.label.startswith("phase ")}


def facts_of(config_text: str) -> list[Fact]:
    """What a reader asks first of `config.yaml`: data, model, phases, folds and so on; what it lacks is left out.

    The whole text stands on the page as well, so this is a selection, and text that is no mapping has none.
    """
    try:
        config = yaml.safe_load(config_text)
    except yaml.YAMLError:
        return []
    if not isinstance(config, dict):
        return []
    lines = [
        ("data", _joined(config, "dataset", "layout", "root", "foreground", "resize")),
        ("model", _joined(config, "model", "architecture", "encoder", "kind", "encoder_weights", "options")),
        *((f"phase {name}", _phase(phase)) for name, phase in _part(_part(config, "schedule"), "phases").items()),
        ("optimizer", _joined(config, "optim", "name", "weight_decay", "encoder_lr_scale")),
        ("augmentation", _transforms(_part(config, "augment").get("transforms"))),
        ("folds", _joined(config, "folds", "kind", "n", "seed", "group", "file")),
        ("training", _joined(config, "trainer", "batch_size", "precision", "accumulate", "monitor", "keep")),
        ("inference", _joined(config, "inference", "views", "tune_for")),
        ("seed", _plain(config.get("seed"))),
    ]
    return [Fact(label, value) for label, value in lines if value]


def ensemble_facts(ensemble: dict[str, Any]) -> list[Fact]:
    """The members in `ensemble.json`, for above the lines of the config, which is that of the first member."""
    runs, weights = ensemble["runs"], ensemble["weights"]
    members = ", ".join(f"{run} (weight {weight:g})" for run, weight in zip(runs, weights, strict=True))
    calibrated = ", after a map of its logits" if ensemble.get("calibration") else ""
    how = {"logits": "mean of the logits of", "vote": "vote of the masks of"}.get(ensemble.get("how", ""), "mean of")
    return [Fact(how, members + calibrated), Fact("settings below", f"those of {runs[0]}")]


def all_images_facts(scores: Mapping[str, Any]) -> list[Fact]:
    """What `scores.json` says of a network of all images; nothing where there is none."""
    found = scores.get("all_images")
    return [] if found is None else [Fact("no score", f"{found['note']} It was trained for {found['epochs']} epochs.")]


def _part(config: Any, key: str) -> dict[str, Any]:
    part = config.get(key) if isinstance(config, dict) else None
    return part if isinstance(part, dict) else {}


def _joined(config: dict[str, Any], group: str, *keys: str) -> str:
    """The group's values; numbers and lists with their key, since they say nothing alone."""
    part = _part(config, group)
    words = []
    for key in keys:
        text = _plain(part.get(key))
        if text:
            alone = isinstance(part[key], str) and key not in ("monitor", "keep", "tune_for")
            words.append(text if alone else f"{key} {text}")
    return " · ".join(words)


def _plain(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def _phase(phase: Any) -> str:
    if not isinstance(phase, dict):
        return _plain(phase)
    loss = phase.get("loss")
    terms = " + ".join(map(_term, loss, loss.values())) if isinstance(loss, dict) else _plain(loss)
    words = [f"{phase.get('epochs')} epochs of {terms}", f"lr {phase.get('lr')} {phase.get('lr_policy', '')}".strip()]
    if phase.get("start_from") == "best":
        words.append("from the best weights so far")
    words += [f"frozen {part}" for part in ("encoder", "batchnorm") if phase.get(f"freeze_{part}")]
    return " · ".join(words)


def _term(name: str, value: Any) -> str:
    if isinstance(value, dict):
        rest = ", ".join(f"{key} {item}" for key, item in value.items() if key != "weight")
        return f"{value.get('weight', 1)} {name} ({rest})" if rest else f"{value.get('weight', 1)} {name}"
    return f"{value} {name}"


def _transforms(transforms: Any) -> str:
    if not isinstance(transforms, list):
        return ""
    return ", ".join(str(item.get("name")) for item in transforms if isinstance(item, dict))
