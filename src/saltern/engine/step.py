"""An optimizer step, the same for training, the learning-rate test and what only tries steps out."""

from typing import Any

import torch
from torch import Tensor, nn

from saltern.config import TrainerConfig
from saltern.engine.meter import TrainBatch
from saltern.engine.objective import Objective
from saltern.runtime import Runtime


def placed(batch: TrainBatch, config: TrainerConfig, runtime: Runtime) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) and targets (B, 1, H, W) of `batch` on the device, the images in the order asked for."""
    order = torch.channels_last if config.channels_last else torch.contiguous_format
    images = batch.images.to(runtime.device, non_blocking=True).contiguous(memory_format=order)
    return images, batch.targets.to(runtime.device, non_blocking=True)


def update(network: nn.Module, optimizer: Any, config: TrainerConfig, runtime: Runtime) -> bool:
    """Clip the gradients, step and forget them; tells whether the weights moved, which fp16's scaler may refuse.

    Args:
        network: as Fabric gave it back.
        optimizer: as Fabric gave it back.
        config: of which `clip_grad_norm` is read.
        runtime: where it trains.
    """
    if config.clip_grad_norm is not None:  # fp16 gradients may overflow; the scaler then skips the step
        runtime.fabric.clip_gradients(network, optimizer, max_norm=config.clip_grad_norm, error_if_nonfinite=False)
    moved = runtime.step(optimizer)
    optimizer.zero_grad(set_to_none=True)
    return moved


def plain_step(
    network: nn.Module,
    loss: Objective,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    runtime: Runtime,
) -> Tensor:
    """A step on images and targets of the device, of a network that Fabric does not know: for trials on a copy.

    Without a loss scale, clipping, accumulation and other processes. The loss, detached.
    """
    images, targets = batch
    with runtime.autocast():
        outputs = network(images)
    total, _ = loss(outputs, targets)
    del outputs
    total.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total.detach()
