"""`trainer.compile`: whether a network can be compiled, found out in one trial step."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saltern.config import TrainerConfig
from saltern.engine.soundness import trial_step
from saltern.runtime import Runtime
from saltern.runtime.memory import TRAINING, enough_memory, ran_out

log = logging.getLogger(__name__)

BACKEND = "inductor"
"""What compiles."""


class WholeBatches:
    """A compiled call of a network for training batches of so many images, its plain call for the rest."""

    def __init__(self, network: nn.Module, images: int) -> None:
        self._network, self._images = network, images
        self._compiled: Callable[..., Any] = torch.compile(network._call_impl, backend=BACKEND, dynamic=False)

    def __call__(self, image: Tensor) -> Any:
        """What the network makes of `image` (B, 3, H, W)."""
        whole = self._network.training and len(image) == self._images
        return self._compiled(image) if whole else self._network._call_impl(image)


def compile_network(network: nn.Module, size: tuple[int, int], config: TrainerConfig, runtime: Runtime) -> bool:
    """Compile `network` in place for training batches of the configured size, of images of `size`; tells whether it is.

    It is called as before, and for anything else (an epoch's last batch, validation) is what it was: one graph is made,
    once. The keys of its state dict stay; a copy of it, such as the average of its weights, is not compiled. Where
    a trial step fails on any process, a warning says why, and all go on with the network as it is. The trial leaves
    weights, running statistics and random numbers as they were.

    Raises:
        TrainingError: memory runs out.
    """
    torch._dynamo.reset()  # or the networks of all folds count as one that is compiled again and again
    network._compiled_call_impl = WholeBatches(network, config.batch_size)  # where Module.compile() puts its own
    reason = _fault(network, size, config, runtime)
    if runtime.group.smallest(int(reason is None)):
        return True
    network._compiled_call_impl = None
    if reason is not None:
        log.warning("trainer.compile=true: this network is trained without, since it cannot be compiled (%s)", reason)
    else:
        log.warning("trainer.compile=true: this network is trained without, since another process cannot compile it")
    return False


def _fault(network: nn.Module, size: tuple[int, int], config: TrainerConfig, runtime: Runtime) -> str | None:
    """Why a step of `network` as it is called now fails; None where it does not."""
    order = torch.channels_last if config.channels_last else torch.contiguous_format
    images = torch.zeros(config.batch_size, 3, *size, dtype=torch.uint8, device=runtime.device)
    images = images.contiguous(memory_format=order)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    trained = network.training
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        try:
            with enough_memory(TRAINING, runtime.device, "the trial step of trainer.compile", images.shape):
                trial_step(network.train(), images, runtime)
        except Exception as error:
            if ran_out(error.__cause__ or error):
                raise
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return " ".join([f"{type(error).__name__}:", *lines[:2]])[:300]  # the second names the reason
        finally:
            network.zero_grad(set_to_none=True)
            network.load_state_dict(before)
            network.train(trained)
    return None
