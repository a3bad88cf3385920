"""Averaged weights: the exponential moving average of a network over its optimizer steps."""

from copy import deepcopy
from typing import Any

import torch
from torch import nn

RAMP = 10
"""Steps of delay in the ramp of the decay."""


class AveragedWeights:
    """A second network whose weights and running statistics follow the first one's slowly.

    After step n, from 1: average ← d · average + (1 - d) · weights, with d = min(decay, n / (n + RAMP)), so that the
    start is forgotten early (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992; the ramp is that of TensorFlow's
    `ExponentialMovingAverage(num_updates)`). torch's `AveragedModel` would make a GPU wait for its step counter.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin at the weights of `network`, on its device; `decay` lies between 0 and 1."""
        self.network = deepcopy(network).requires_grad_(False)
        self.steps = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the weights that `network` has after an optimizer step."""
        self.steps += 1
        decay = min(self._decay, self.steps / (self.steps + RAMP))
        weights = network.state_dict()
        pairs = [(average, weights[name]) for name, average in self.network.state_dict().items()]
        floats = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floats], [weight for _, weight in floats], 1.0 - decay)
        counters = [pair for pair in pairs if not pair[0].is_floating_point()]  # they have no mean
        if counters:
            torch._foreach_copy_([average for average, _ in counters], [weight for _, weight in counters])

    def restart(self, network: nn.Module) -> None:
        """Begin again at the weights of `network`."""
        self.network.load_state_dict(network.state_dict())
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes to go on exactly here."""
        return {"network": self.network.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.steps = state["steps"]
