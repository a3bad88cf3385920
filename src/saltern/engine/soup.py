"""A soup: the mean of one network's weights after several epochs (Wortsman et al., arXiv 2203.05482)."""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltern.config import PhaseConfig, TrainerConfig
from saltern.engine.freezing import hold_norms
from saltern.engine.meter import TrainBatch
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, enough_memory

STATISTICS_BATCHES = 256
"""Batches that the statistics of batch norm are estimated on, at most."""


def chosen(scores: Sequence[float], first: int, config: TrainerConfig) -> list[int]:
    """The epochs that a soup would be made of if training ended now, ascending; none unless `keep` is average.

    Those that `soup_of` asks for, of a phase with these `scores`, whose first epoch has the number `first`. Of equal
    scores the earlier counts, so an epoch that is not among them now never will be.
    """
    if config.keep != "average":
        return []
    epochs = list(range(first, first + len(scores)))
    if config.soup_of == "best":
        epochs = sorted(epochs, key=lambda epoch: (-scores[epoch - first], epoch))[: config.soup_epochs]
    return sorted(epochs[-config.soup_epochs :])


def mean_of(weights: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of state dicts with the same keys, in their precision, summed up in float64; counters are the last's."""
    sums: dict[str, Tensor] = {}
    last: dict[str, Tensor] = {}
    number = 0
    for last in weights:
        number += 1
        for name, tensor in last.items():
            if tensor.is_floating_point():
                sums[name] = sums[name] + tensor.double() if name in sums else tensor.double()
    assert number > 0, "a mean of nothing"
    return {name: (sums[name] / number).to(tensor.dtype) if name in sums else tensor for name, tensor in last.items()}


def cook(
    network: nn.Module,
    weights: Iterable[dict[str, Tensor]],
    phase: PhaseConfig,
    batches: Iterable[TrainBatch],
    runtime: Runtime,
) -> nn.Module:
    """A network like `network` with the mean of `weights`, and its statistics on `batches`, trained as in `phase`.

    Every process must call, with `batches` of its own; all have the main one's statistics then.
    """
    soup = deepcopy(network)
    soup.load_state_dict(mean_of(weights))
    estimate_statistics(soup, phase, batches, runtime)
    runtime.share_buffers(soup)
    return soup


@torch.no_grad()
def estimate_statistics(soup: nn.Module, phase: PhaseConfig, batches: Iterable[TrainBatch], runtime: Runtime) -> None:
    """Estimate the batch norm of `soup` anew, as the mean over `batches`, at most STATISTICS_BATCHES of them.

    The mean of weights has other activations than any of them (Izmailov et al., arXiv 1803.05407). It is what
    `torch.optim.swa_utils.update_bn` does, which would also forget the statistics of norms that are frozen, in `phase`
    or by themselves: these stay the mean of the weights' own. Without other norms nothing is done.
    """
    soup.train()
    hold_norms(soup, phase)
    norms = [
        module
        for module in soup.modules()
        if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for: every batch counts the same
    for batch in islice(batches, STATISTICS_BATCHES):
        images = batch.images.to(runtime.device, non_blocking=True)
        with enough_memory(TRAINING, runtime.device, "the statistics of the average", images.shape), runtime.autocast():
            soup(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
