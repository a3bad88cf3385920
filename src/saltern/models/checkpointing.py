"""Activation checkpointing: blocks that keep nothing but their input for the backward pass, and run again in it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from saltern.errors import ConfigError

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_RUNNING = ("running_mean", "running_var", "num_batches_tracked")
"""Buffers that a forward pass in training changes."""


class _Checkpointed:
    """Comes before the class of a block, whose `forward` it runs under a checkpoint while it trains.

    A class and not a hook or another method: a copy of the network keeps it, and no key of its weights changes.
    """

    training: bool

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the block gives."""
        forward = super().forward  # type: ignore[misc]
        if not (self.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        as_now = [list(arg) if isinstance(arg, list) else arg for arg in args]  # DenseNet's list grows meanwhile
        return checkpoint(forward, *as_now, use_reentrant=False, context_fn=self._contexts, **kwargs)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        assert isinstance(self, nn.Module)
        return nullcontext(), _statistics_kept(self)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Within it, running statistics are copies: what changes them a second time is forgotten."""
    kept = [
        (module, name, buffer)
        for module in block.modules()
        for name in _RUNNING
        if (buffer := module._buffers.get(name)) is not None
    ]
    for module, name, buffer in kept:
        module._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for module, name, buffer in kept:
            module._buffers[name] = buffer


def checkpoint_blocks(net: Any, name: str) -> list[str]:
    """Let the blocks of the encoder and the decoder of `net` keep their input alone, in training; gives their names.

    A block is a member, with layers of its own, of a list or sequence of layers: a residual block, a transformer's
    layer, a stage of a U-Net's decoder. It is computed twice in a step, for less memory: gradients and weights stay as
    they are, dropout repeats, and batch norm takes its statistics once. One that somebody listens into is left as it
    is, but its own blocks are not.

    Raises:
        ConfigError: the encoder of the network, whose `name` users know, has no such blocks.
    """
    found = {part: list(_blocks(getattr(net, part, None))) for part in ("encoder", "decoder")}
    if not found["encoder"]:
        raise ConfigError(
            f"trainer.checkpointing=true: {name} has no blocks in its encoder that could be computed again. "
            "Choose another encoder, or trainer.checkpointing=false."
        )
    for _, block in (*found["encoder"], *found["decoder"]):
        if not isinstance(block, _Checkpointed):  # else it stands there under two names
            block.__class__ = _checkpointed(type(block))
    return [f"{part}.{block}" for part, blocks in found.items() for block, _ in blocks]


def _checkpointed(kind: Any) -> Any:
    return type(f"Checkpointed{kind.__name__}", (_Checkpointed, kind), {"__doc__": kind.__doc__})


def _blocks(module: nn.Module | None, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The outermost blocks of `module`, by name."""
    holds_blocks = isinstance(module, _CONTAINERS) and not hasattr(module, "feature_info")  # that of timm holds stages
    for name, child in module.named_children() if module is not None else ():
        is_block = holds_blocks and not isinstance(child, _CONTAINERS) and any(child.children())
        if is_block and not _is_heard(child) and next(child.parameters(), None) is not None:
            yield f"{prefix}{name}", child
        else:
            yield from _blocks(child, f"{prefix}{name}.")


def _is_heard(block: nn.Module) -> bool:
    """Whether a part of `block` has somebody listening, who would hear it twice."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in block.modules() if part is not block)
