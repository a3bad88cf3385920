"""Which sizes of image a network takes, asked of it on torch's meta device, where tensors have shapes and no values."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from saltern.errors import ConfigError

log = logging.getLogger(__name__)

Size = tuple[int, int]
"""Height and width, pixels."""

LARGEST_FACTOR = 32
"""Up to so many times the encoder's stride is the true multiple looked for: MaxViT with windows of 7 has 7."""
_LARGE = 8
"""Sides of a trial image in multiples: enough for the deepest pooling, that of PAN."""
_FAILURES = (RuntimeError, AssertionError, ValueError, TypeError, IndexError)
"""What networks raise at images that they cannot take."""


class _Unknown(Exception):
    """A network that cannot be run without values, so that nothing was found out."""


@dataclass(frozen=True)
class Sizes:
    """The images that a network takes: sides are multiples of `stride`, and where `only` is set, exactly these."""

    stride: int
    only: Size | None = None

    @property
    def trial(self) -> Size:
        """A size that is large enough for every layer."""
        return self.only or (_LARGE * self.stride, (_LARGE + 1) * self.stride)


def find_sizes(net: nn.Module, stride: int, likely: Sequence[Size] = ()) -> Sizes:
    """The sizes of image that `net` takes, images (B, 3, H, W) → logits (B, 1, H, W).

    Windows of an encoder, or the grids of a decoder, may ask for another multiple than the encoder's `stride`. The
    first of its multiples m is taken for which an image of 8 m by 9 m passes: whatever divides both of these sides
    divides m. A network for which none passes may take one size alone: one of `likely`, or the one that timm states.
    One that cannot be asked so, but does take the first size, is padded to `stride`, with a warning.

    Raises:
        ConfigError: no size was found that the network takes, or a layer of it has no channels.
    """
    said = None
    try:
        for factor in range(1, LARGEST_FACTOR + 1):
            sizes = Sizes(factor * stride)
            said = why_not(net, sizes.trial)
            if said is None:
                return sizes
        for only in [*likely, *_stated(net)]:
            if why_not(net, only) is None:
                return Sizes(gcd(*only), only)
    except _Unknown as error:
        said = str(error)
    if _runs(net, Sizes(stride).trial):  # what has no channels, say, passes with values alone
        log.warning("which images this network takes cannot be asked of it (%s): multiples of %d", said, stride)
        return Sizes(stride)
    _refuse_no_channels(net)
    raise ConfigError(
        f"model: no size of image was found that this network takes ({said}). Its options may help: "
        "model.options={dynamic_img_size: true} for vision transformers, {strict_img_size: false} for Swin, or "
        "{img_size: [H, W]}."
    )


def _refuse_no_channels(net: nn.Module) -> None:
    """Raise a ConfigError where a layer has no channels, which no size of image mends."""
    for name, tensor in net.named_parameters():
        if not tensor.numel():
            raise ConfigError(
                f"model: {name} is of shape {tuple(tensor.shape)}, so this layer has no channels left and the network "
                "takes no image. Attention such as scse keeps one channel of 16; give every one of "
                "model.options.decoder_channels 16 or more."
            )


def why_not(net: nn.Module, size: Size, images: int = 1) -> str | None:
    """Why `net` cannot take images of `size`, in its own words; None where it can. Its training mode counts."""
    try:
        logits = _run_without_values(net, size, images)
    except _FAILURES as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    given = tuple(logits.shape[2:])
    return None if given == size else f"it gives logits of {given[0]} x {given[1]}"


def run_empty(net: nn.Module, size: Size) -> None:
    """Run `net` once in evaluation mode, for those who listen; without values where it can be.

    Raises:
        ConfigError: it cannot take images of `size`.
    """
    was = net.training
    net.eval()
    try:
        if why_not(net, size) is not None:
            _run(net, size)
    except _Unknown:
        _run(net, size)
    except _FAILURES as error:
        raise ConfigError(f"model: the network cannot take images of {size[0]} x {size[1]} ({error}).") from error
    finally:
        net.train(was)


def refuse_size(net: nn.Module, sizes: Sizes, name: str, size: Size) -> None:
    """Raise a ConfigError that says what to do, where the size is why `net` cannot be trained on images of `size`."""
    try:
        said = why_not(net, size, images=2)
        if said is None or why_not(net, sizes.trial, images=2) is not None:  # it cannot be asked, or not of the size
            return
        squares = [(side, side) for side in range(sizes.stride, 2 * _LARGE * sizes.stride + 1, sizes.stride)]
        least = next((square for square in [sizes.only or squares[0], *squares] if not why_not(net, square, 2)), None)
    except _Unknown:
        return
    raise ConfigError(f"model: {name} cannot be trained on images of {size[0]} x {size[1]} ({said}). {_advice(least)}")


def refuse_other_size(only: Size, name: str, size: Size) -> None:
    """Raise a ConfigError where `size` is not the `only` one that a network takes."""
    if size != only:
        raise ConfigError(
            f"model: {name} takes images of {only[0]} x {only[1]} alone, and cannot take {size[0]} x {size[1]}. "
            f"{_advice(only)}"
        )


def _advice(size: Size | None) -> str:
    if size is None:
        return "Choose another architecture or encoder."
    sides = f"[{size[0]},{size[1]}]"
    return (
        f"Images of {size[0]} x {size[1]} can be had: set dataset.resize={sides}, or where the images are larger "
        f"dataset.train_crop={sides} and dataset.window={min(size)}."
    )


def _stated(net: nn.Module) -> Iterator[Size]:
    """The sizes that timm's parts of `net` state: those of their patches, then that of their pretrained weights."""
    for module in net.modules():
        found = getattr(module, "img_size", None)
        if isinstance(found, tuple) and len(found) == 2:
            yield int(found[0]), int(found[1])
    for module in net.modules():
        stated = getattr(module, "pretrained_cfg", None)
        found = stated.get("input_size") if isinstance(stated, dict) else None
        if found:
            yield int(found[1]), int(found[2])


def _runs(net: nn.Module, size: Size) -> bool:
    try:
        return tuple(_run(net, size).shape[2:]) == size
    except _FAILURES:
        return False


@torch.no_grad()
def _run(net: nn.Module, size: Size) -> Tensor:
    """What `net` really gives for an empty image."""
    logits: Tensor = net(torch.zeros(1, 3, *size))
    return logits


@torch.no_grad()
def _run_without_values(net: nn.Module, size: Size, images: int) -> Tensor:
    """What `net` gives for so many images, on the meta device; nothing is computed, `net` stays where it is.

    Raises:
        _Unknown: a layer needs values.
    """
    state = {name: torch.empty_like(tensor, device="meta") for name, tensor in _tensors(net)}
    try:
        given: Any = functional_call(net, state, (torch.zeros(images, 3, *size, device="meta"),))
    except (*_FAILURES, NotImplementedError) as error:
        if "meta" in str(error).lower():
            raise _Unknown(str(error).strip().partition("\n")[0]) from error
        raise
    logits: Tensor = given if isinstance(given, Tensor) else given[0]
    return logits


def _tensors(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from net.named_parameters()
    yield from net.named_buffers()
