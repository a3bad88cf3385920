"""Whether a network can be trained as asked, found out in one trial step; and whether its weights are still numbers."""

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from saltern.errors import ConfigError, SalternError
from saltern.models import Outputs, SegmentationNet
from saltern.models.sizes import refuse_size
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, enough_memory


def freeze_idle(network: nn.Module, size: tuple[int, int], runtime: Runtime) -> list[str]:
    """Freeze the parameters of `network` on which its output does not depend; gives their names.

    Encoders of less than full depth carry such layers (timm's EfficientNets have three parameters of them). Left alone
    they make DDP search the graph, or wait, in every step.

    A trial step on two empty images of `size` (height, width), a copy of the network and its own random numbers finds
    them; it also finds, where `trainer.deterministic` is on, that a layer has no deterministic gradient.

    Raises:
        ConfigError: no deterministic gradient; names the operation. Images of a size that the network cannot take.
        TrainingError: memory does not hold two images.
    """
    trial = deepcopy(network).train()
    images = torch.zeros(2, 3, *size, dtype=torch.uint8, device=runtime.device)
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        try:
            with enough_memory(TRAINING, runtime.device, "the trial step", images.shape):
                trial_step(trial, images, runtime)
        except SalternError:
            raise
        except (RuntimeError, AssertionError, ValueError) as error:
            if "deterministic" not in str(error):
                if isinstance(network, SegmentationNet):
                    refuse_size(trial, network.sizes, network.name, size)
                raise
            raise ConfigError(
                f"trainer.deterministic=true: this network cannot be trained so ({str(error).split('.')[0]}). "
                "PSPNet and UPerNet are known for it; choose another model, or trainer.deterministic=false."
            ) from error
    idle = {name for name, parameter in trial.named_parameters() if parameter.requires_grad and parameter.grad is None}
    for name, parameter in network.named_parameters():
        if name in idle:
            parameter.requires_grad_(False)
    return sorted(idle)


def trial_step(network: nn.Module, images: Tensor, runtime: Runtime) -> None:
    """Forward of `images` (B, 3, H, W) uint8, and backward from everything that `network` gives."""
    with runtime.autocast():
        outputs: Outputs = network(images)
    heard = [outputs.logits, *outputs.deep, *([] if outputs.presence is None else [outputs.presence])]
    torch.stack([logits.float().sum() for logits in heard]).sum().backward()


def not_finite(networks: Iterable[nn.Module]) -> list[str]:
    """Names of parameters and buffers of `networks` that hold NaN or infinity; the device is read from once."""
    named = [
        (name, tensor.detach())
        for network in networks
        for name, tensor in chain(network.named_parameters(), network.named_buffers())
        if tensor.is_floating_point() and tensor.numel()
    ]
    peaks = torch._foreach_norm([tensor for _, tensor in named], torch.inf)
    finite = torch.stack([peak.float() for peak in peaks]).isfinite().tolist()
    return [name for (name, _), good in zip(named, finite, strict=True) if not good]
