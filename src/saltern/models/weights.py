"""Encoder weights from a local file, matched key by key."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from saltern.config import ConfigError

PREFIXES = ("module.", "model.", "net.", "encoder.", "backbone.")
"""What training frameworks put before the encoder's own keys."""


@dataclass(frozen=True)
class WeightsReport:
    """Which keys of a file fitted: `matched` were loaded, `missing` stay random, `unexpected` were left."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]

    @property
    def complete(self) -> bool:
        """Whether file and encoder hold the same keys in the same shapes."""
        return not (self.missing or self.unexpected or self.reshaped)

    def __str__(self) -> str:
        """One line: the four counts, and the first names of what did not fit."""
        parts = [f"{len(self.matched)} matched"]
        for label in ("missing", "unexpected", "reshaped"):
            names: list[str] = getattr(self, label)
            shown = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
            parts.append(f"{len(names)} {'of another shape' if label == 'reshaped' else label}{shown}")
        return ", ".join(parts)


def load_encoder_weights(encoder: nn.Module, path: str | Path) -> WeightsReport:
    """Copy the tensors of a .safetensors or .pth file into `encoder` where name and shape agree.

    Raises:
        ConfigError: no such file, not readable as weights, or not one tensor fits.
    """
    file = Path(path).expanduser()
    found = _read(file)
    own = encoder.state_dict()
    found = _strip(found, set(own))
    matched = [key for key in own if key in found and found[key].shape == own[key].shape]
    report = WeightsReport(
        matched=matched,
        missing=[key for key in own if key not in found and not key.endswith("num_batches_tracked")],
        unexpected=[key for key in found if key not in own],
        reshaped=[key for key in own if key in found and found[key].shape != own[key].shape],
    )
    if not any(own[key].ndim > 1 for key in matched):
        raise ConfigError(
            f"model.encoder_weights={file}: no weight of the file fits the encoder ({report}). "
            f"The file begins with {', '.join(list(found)[:3])}; the encoder with {', '.join(list(own)[:3])}. "
            "Expected weights of the same encoder."
        )
    encoder.load_state_dict({**own, **{key: found[key] for key in matched}})
    return report


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ConfigError(
            f"model.encoder_weights={file}: no such file. Expected null, imagenet, or the path of a "
            ".safetensors or .pth file."
        )
    try:
        content: Any
        if file.suffix == ".safetensors":
            content = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch, pickle, zipfile and safetensors raise classes of their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.encoder_weights={file}: not readable as weights ({reason}). Is the download complete?"
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(key): value for key, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError(f"model.encoder_weights={file}: holds no tensors; expected a state dict.")
    return tensors


def _strip(found: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """`found` without a prefix that a framework put before the keys, or with timm's, where more of them fit then."""
    while True:
        variants = [
            {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
            for prefix in PREFIXES
        ]
        variants.append({f"model.{key}": value for key, value in found.items()})
        best = max(variants, key=lambda keys: sum(key in own for key in keys))
        if sum(key in own for key in best) > sum(key in own for key in found):
            found = best
            continue
        nested = next((keys for keys in variants[:-1] if len(keys) == len(found)), None)
        if nested is None or any(key in own for key in found):
            return found
        found = nested
