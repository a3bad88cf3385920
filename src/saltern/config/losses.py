"""The parameters of every loss that a schedule may name, as plain dataclasses (no torch).

`saltern.losses` holds the losses themselves; a test keeps the two lists of names and defaults equal.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from saltern.errors import ConfigError, unknown


@dataclass(kw_only=True)
class LossTerm:
    """One summand of a training loss: `weight` times the loss `name` built with `params`."""

    name: str
    weight: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)


_LOVASZ = {"per_image": True, "activation": "relu", "symmetric": False, "skip_empty": False}
_REGION = {"smooth": 1.0, "squared": False, "per_image": True, "empty": "formula"}

LOSS_PARAMS: dict[str, dict[str, Any]] = {
    "bce": {"pos_weight": 1.0, "label_smoothing": 0.0},
    "focal": {"gamma": 2.0, "alpha": None},
    "hinge": {},
    "dice": _REGION,
    "jaccard": _REGION,
    "tversky": {"alpha": 0.5, "beta": 0.5, **_REGION},
    "focal_tversky": {"alpha": 0.3, "beta": 0.7, "gamma": 0.75, **_REGION},
    "lovasz_hinge": _LOVASZ,
    "lovasz_softmax": {"classes": "present", "per_image": False},
}
"""Loss name → its parameters with their defaults."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _classes(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("present", "all")
    numbers = isinstance(value, Sequence) and all(type(item) is int and item >= 0 for item in value)
    return numbers and 0 < len(value) == len(set(value))


_Rule = tuple[Callable[[Any], bool], str]

_FLAG: _Rule = (lambda value: isinstance(value, bool), "true or false")
_AT_LEAST_0: _Rule = (lambda value: _number(value) and value >= 0, "a number of at least 0")
_POSITIVE: _Rule = (lambda value: _number(value) and value > 0, "a positive number")
_SHARE: _Rule = (lambda value: _number(value) and 0 <= value < 1, "a number from 0 to below 1")
_FOCAL_ALPHA: _Rule = (lambda value: value is None or (_number(value) and 0 <= value <= 1), "null or from 0 to 1")
_ACTIVATION: _Rule = (lambda value: value in ("relu", "elu1"), "relu or elu1")
_EMPTY: _Rule = (lambda value: value in ("formula", "mean", "skip"), "formula, mean or skip")
_CLASSES: _Rule = (_classes, "present, all, or a list of different class numbers")

_REGION_RULES = {"smooth": _AT_LEAST_0, "squared": _FLAG, "per_image": _FLAG, "empty": _EMPTY}

_RULES: dict[str, dict[str, _Rule]] = {
    "bce": {"pos_weight": _POSITIVE, "label_smoothing": _SHARE},
    "focal": {"gamma": _AT_LEAST_0, "alpha": _FOCAL_ALPHA},
    "hinge": {},
    "dice": _REGION_RULES,
    "jaccard": _REGION_RULES,
    "tversky": {"alpha": _POSITIVE, "beta": _POSITIVE, **_REGION_RULES},
    "focal_tversky": {"alpha": _POSITIVE, "beta": _POSITIVE, "gamma": _POSITIVE, **_REGION_RULES},
    "lovasz_hinge": {"per_image": _FLAG, "activation": _ACTIVATION, "symmetric": _FLAG, "skip_empty": _FLAG},
    "lovasz_softmax": {"classes": _CLASSES, "per_image": _FLAG},
}
"""Loss name → parameter → whether a value is good, and what is expected."""


def check_params(name: str, params: Mapping[str, Any], where: str = "") -> None:
    """Refuse values of parameters that the loss `name` cannot work with.

    Raises:
        ConfigError: the parameter, what came, what was expected; it starts with `where` or else the loss.
    """
    for key, value in params.items():
        good, expected = _RULES[name][key]
        if not good(value):
            raise ConfigError(f"{where or name}.{key}={value!r}: expected {expected}.")


def parse_loss(raw: str | Mapping[str, Any], where: str) -> list[LossTerm]:
    """The terms of a weighted sum, with all parameters filled in.

    Args:
        raw: `{bce: 1.0}`, `{tversky: {weight: 0.5, alpha: 0.3}, bce: 0.5}`, or as text for the command line
            `dice`, `0.9*lovasz_hinge+0.1*bce` or `lovasz_hinge(per_image=false)`. Weight 0 or null drops a term.
        where: the key, for messages.

    Raises:
        ConfigError: an unknown loss or parameter, a value that it cannot take, no term with a positive weight.
    """
    sums = _parse_sum(raw, where) if isinstance(raw, str) else raw
    if not isinstance(sums, Mapping):
        raise ConfigError(f"{where}={raw!r}: expected for example {{bce: 1.0}} or 0.9*lovasz_hinge+0.1*bce.")
    terms = [_parse_term(name, value, f"{where}.{name}") for name, value in sums.items()]
    kept = [term for term in terms if term.weight > 0]
    if not kept:
        raise ConfigError(
            f"{where}: no loss with a positive weight in {raw!r}; "
            f"expected for example {{bce: 1.0}}. Known: {', '.join(LOSS_PARAMS)}."
        )
    return kept


_SUMMAND = re.compile(r"\s*(?:(?P<weight>[^*()]*)\*)?\s*(?P<name>[^*()]*?)\s*(?:\((?P<params>[^()]*)\))?\s*")


def _parse_sum(text: str, where: str) -> dict[str, Any]:
    """`0.9*lovasz_hinge(symmetric=true)+0.1*bce` as {name: {weight, parameters}}."""
    sums: dict[str, Any] = {}
    for summand in re.split(r"\+(?![^(]*\))", text):
        found = _SUMMAND.fullmatch(summand)
        if found is None:
            raise ConfigError(f"{where}={text!r}: cannot read {summand!r}; expected weight*loss(parameter=value,…).")
        weight, name = found["weight"], found["name"]
        try:
            value = float(weight) if weight is not None else 1.0
        except ValueError:
            raise ConfigError(f"{where}={text!r}: {weight.strip()!r} is no number; expected weight*loss.") from None
        if name in sums:
            raise ConfigError(f"{where}={text!r}: {name} stands twice; add the weights up.")
        sums[name] = {**_parse_params(found["params"] or "", f"{where}={text!r}"), "weight": value}
    return sums


def _parse_params(text: str, where: str) -> dict[str, Any]:
    """`per_image=false, smooth=0` as {parameter: value}; values as YAML has them."""
    params: dict[str, Any] = {}
    for pair in text.split(",") if text.strip() else []:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or key in params or key == "weight":
            raise ConfigError(f"{where}: cannot read {pair.strip()!r}; expected each parameter once, parameter=value.")
        params[key] = _parse_value(value)
    return params


def _parse_value(text: str) -> Any:
    """As YAML has it, and 1e-3, which YAML takes for text."""
    try:
        return float(text) if re.search(r"\de[-+]?\d", text) else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text


def _parse_term(name: str, value: Any, where: str) -> LossTerm:
    if name not in LOSS_PARAMS:
        raise ConfigError(f"{where}: {unknown('loss', name, list(LOSS_PARAMS))}")
    settings = dict(value) if isinstance(value, Mapping) else {"weight": value}
    weight = settings.pop("weight", 1.0)
    weight = 0.0 if weight is None else weight
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
        raise ConfigError(f"{where}: the weight is {weight!r}; expected a number of at least 0.")
    for key in settings:
        if key not in LOSS_PARAMS[name]:
            known = ["weight", *LOSS_PARAMS[name]]
            raise ConfigError(f"{where}: {unknown(f'parameter of {name}', key, known)}")
    check_params(name, settings, where)
    return LossTerm(name=name, weight=float(weight), params={**LOSS_PARAMS[name], **settings})
