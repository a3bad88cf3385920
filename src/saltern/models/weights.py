"""Encoder weights from a local file, matched key by key."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from pickletools import genops
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from saltern.config import ConfigError
from saltern.models.fitting import fit_names, resampling

IMAGENET = "imagenet"
"""The `encoder_weights` that come from the hub."""

_ZIP = b"PK\x03\x04"
_OLD_PICKLES = 5
"""In a file of torch before 1.6: a magic number, a version, the machine, the content, the names of its storages."""


class _Refused(Exception):
    """A file that is not damaged, but not loaded either."""


@dataclass(frozen=True)
class WeightsReport:
    """Which keys of a file fitted: `matched` were loaded, `missing` stay random, `unexpected` were left.

    `resampled` are those of `matched` that had the shape of another grid or patch of a vision transformer.
    """

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    resampled: list[str] = field(default_factory=list)

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
        if self.resampled:
            parts.insert(1, f"of them resampled to this grid of patches: {', '.join(self.resampled)}")
        return ", ".join(parts)


@contextmanager
def from_hub(encoder: str) -> Iterator[None]:
    """Turn whatever fetching the ImageNet weights of `encoder` raises into a ConfigError that says what to do."""
    try:
        yield
    except Exception as error:  # the hub's clients raise a dozen unrelated classes
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ConfigError(
            f"model.encoder_weights=imagenet: the weights of {encoder} could not be fetched from the hub "
            f"({type(error).__name__}: {reason}). Without a network, set model.encoder_weights to the path of a local "
            ".safetensors or .pth file, or to null for random weights."
        ) from error


def load_encoder_weights(encoder: nn.Module, path: str | Path) -> WeightsReport:
    """Copy the tensors of a .safetensors or .pth file into `encoder` where name and shape agree; no code is run.

    Names and shapes as `fit_names` and `resampling` make them agree.

    Raises:
        ConfigError: no such file, not readable as weights, not one tensor fits, or one that fits cannot be right: not
            finite, a negative variance, whole numbers for weights, sparse, quantised or without values.
    """
    file = Path(path).expanduser()
    found = _read(file)
    own = encoder.state_dict()
    found = fit_names(found, set(own))
    other = [key for key in own if key in found and found[key].shape != own[key].shape]
    ways = {key: way for key in other if (way := resampling(encoder, key, tuple(found[key].shape)))}
    matched = [key for key in own if key in found and (key not in other or key in ways)]
    report = WeightsReport(
        matched=matched,
        missing=[key for key in own if key not in found and not key.endswith("num_batches_tracked")],
        unexpected=[key for key in found if key not in own],
        reshaped=[key for key in other if key not in ways],
        resampled=list(ways),
    )
    if not any(own[key].ndim > 1 for key in matched):
        raise ConfigError(
            f"model.encoder_weights={file}: no weight of the file fits the encoder ({report}). "
            f"The file begins with {', '.join(list(found)[:3])}; the encoder with {', '.join(list(own)[:3])}. "
            "Expected weights of the same encoder."
        )
    fitting = {key: _like(own[key], found[key], f"model.encoder_weights={file}: {key}") for key in matched}
    fitting |= {key: way(fitting[key]) for key, way in ways.items()}
    encoder.load_state_dict({**own, **fitting})
    return report


def _like(own: Tensor, found: Tensor, where: str) -> Tensor:
    """The values of `found` in the type of `own`."""
    if found.is_meta:
        raise ConfigError(f"{where} has no values (device meta). Save the weights of a network that has some.")
    if found.layout != torch.strided or found.is_quantized:
        kind = "quantised" if found.is_quantized else f"of layout {found.layout}"
        raise ConfigError(f"{where} is {kind}; expected a dense tensor. Save it as float32.")
    if found.is_complex() or found.is_floating_point() != own.is_floating_point():
        raise ConfigError(f"{where} is of type {found.dtype}; expected {own.dtype}, or another with such numbers.")
    values = found.detach().to(own.dtype)
    strange = int((~values.isfinite()).sum())
    if strange:
        raise ConfigError(f"{where}: {strange} of {values.numel()} values are not finite. Take other weights.")
    if where.endswith("running_var") and values.numel() and values.min() < 0:
        raise ConfigError(f"{where}: a variance of {values.min():g}; expected 0 or more. Take other weights.")
    return values


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise ConfigError(
            f"model.encoder_weights={file}: no such file. Expected null, imagenet, or the path of a "
            ".safetensors or .pth file."
        )
    try:
        content: Any = load_file(file) if file.suffix == ".safetensors" else _unpickle(file)
    except Exception as error:  # a damaged file makes torch, pickle, zipfile and safetensors raise classes of their own
        raise ConfigError(f"model.encoder_weights={file}: {_reason(error)}") from None
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(key): value for key, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError(f"model.encoder_weights={file}: holds no tensors; expected a state dict.")
    return tensors


def _unpickle(file: Path) -> Any:
    """The content of a .pth file, made of nothing but tensors and plain containers.

    torch alone would run no code either, but it checks no sums, unpacks what a few kilobytes unfold to, and gives a
    `bytearray` any size that the file asks for.
    """
    with file.open("rb") as stream:
        if stream.read(len(_ZIP)) == _ZIP:
            _check_zip(stream)
        else:
            stream.seek(0)
            for _ in range(_OLD_PICKLES):
                _refuse_code(stream)
    return torch.load(file, map_location="cpu", weights_only=True)


def _check_zip(stream: IO[bytes]) -> None:
    with ZipFile(stream) as archive:
        for item in archive.infolist():
            if item.compress_type != ZIP_STORED:
                raise _Refused(f"{item.filename} is compressed, which torch.save never does")
            with archive.open(item) as record:
                if item.filename.endswith("data.pkl"):
                    _refuse_code(record)
                while record.read(1 << 20):  # to the end, where the sum is checked
                    pass


def _refuse_code(stream: IO[bytes]) -> None:
    """Read one pickle without running it; _Refused where it names anything but what tensors are made of."""
    for operation, argument, _ in genops(stream):
        named = operation.name in ("GLOBAL", "INST", "STACK_GLOBAL")
        if named and not str(argument).startswith(("torch ", "torch.", "collections OrderedDict")):
            what = str(argument or "names of a later pickle protocol").replace(" ", ".")
            raise _Refused(
                f"it holds more than tensors ({what}), and a file that could run code is not loaded. "
                "Save the tensors alone, with safetensors.torch.save_file(network.state_dict(), FILE)"
            )


def _reason(error: Exception) -> str:
    """Why a file was not read; torch's own words may advise to switch its safety off."""
    text = str(error).strip()
    if isinstance(error, _Refused):
        return f"not read as weights: {text}."
    reason = text.splitlines()[0] if text and "weights_only" not in text else "no state dict of tensors"
    return f"not readable as weights ({type(error).__name__}: {reason}). Is the download complete?"
