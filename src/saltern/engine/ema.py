"""Averaged weights: the exponential moving average of a network over its optimizer steps."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

RAMP = 10
"""Steps of delay in the ramp of the decay."""


class AveragedWeights:
    """A second network whose weights and running statistics follow the first one's slowly.

    After step n, from 1: average ← d · average + (1 - d) · weights, with d = min(decay, n / (n + RAMP)), so that the
    start is forgotten early (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992; the ramp is that of TensorFlow's
    `ExponentialMovingAverage(num_updates)`, and of timm's `ModelEmaV3` with `warmup_gamma=10, warmup_power=1`). The
    tensors of both are listed once: timm's asks both networks for their state dict in every step, and torch's
    `AveragedModel` makes a GPU wait for its step counter.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin at the weights of `network`, on its device, and follow it; `decay` lies between 0 and 1."""
        self.network = deepcopy(network).requires_grad_(False)
        self.steps = 0
        self._decay = decay
        own, followed = self.network.state_dict(), network.state_dict()
        pairs = [(own[name], followed[name].detach()) for name in own]
        self._floats = _columns([pair for pair in pairs if pair[0].is_floating_point()])
        self._counters = _columns([pair for pair in pairs if not pair[0].is_floating_point()])  # they have no mean

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights that the followed network has after an optimizer step."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + RAMP))
        torch._foreach_lerp_(*self._floats, 1.0 - decay)
        if self._counters[0]:
            torch._foreach_copy_(*self._counters)

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again at the weights that the followed network has now."""
        for own, followed in (self._floats, self._counters):
            if own:
                torch._foreach_copy_(own, followed)
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on exactly here."""
        return {"network": self.network.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.steps = state["steps"]


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [own for own, _ in pairs], [followed for _, followed in pairs]
