"""The parameters of every loss that a schedule may name, as plain dataclasses (no torch).

`saltern.losses` holds the losses themselves; a test keeps the two lists of names and defaults equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saltern.errors import ConfigError, unknown


@dataclass(kw_only=True)
class LossTerm:
    """One summand of a training loss: `weight` times the loss `name` built with `params`."""

    name: str
    weight: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)


_LOVASZ = {"per_image": True, "activation": "relu", "symmetric": False, "skip_empty": False}
_REGION = {"smooth": 1.0, "squared": False, "per_image": True}

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


def parse_loss(raw: str | Mapping[str, Any], where: str) -> list[LossTerm]:
    """The terms of a weighted sum, with all parameters filled in.

    Args:
        raw: `{bce: 1.0}`, `{tversky: {weight: 0.5, alpha: 0.3}, bce: 0.5}`, or as text for the command line
            `dice` or `0.9*lovasz_hinge+0.1*bce`. Weight 0 or null drops a term.
        where: the key, for messages.

    Raises:
        ConfigError: an unknown loss or parameter, a weight that is no positive number, no term left.
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


def _parse_sum(text: str, where: str) -> dict[str, float]:
    """`0.9*lovasz_hinge+0.1*bce` as {name: weight}."""
    sums: dict[str, float] = {}
    for summand in text.split("+"):
        weight, star, name = summand.strip().rpartition("*")
        try:
            value = float(weight) if star else 1.0
        except ValueError:
            raise ConfigError(f"{where}={text!r}: {weight!r} is no number; expected weight*loss.") from None
        if name.strip() in sums:
            raise ConfigError(f"{where}={text!r}: {name.strip()} stands twice; add the weights up.")
        sums[name.strip()] = value
    return sums


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
    return LossTerm(name=name, weight=float(weight), params={**LOSS_PARAMS[name], **settings})
