"""Losses by name, weighted sums of them, and the phase that an epoch belongs to."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saltern.config import LossTerm, PhaseConfig, ScheduleConfig
from saltern.errors import ConfigError, unknown
from saltern.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from saltern.losses.pixel import BceLoss, FocalLoss, HingeLoss
from saltern.losses.region import DiceLoss, FocalTverskyLoss, JaccardLoss, TverskyLoss

LOSSES: dict[str, type[nn.Module]] = {
    "bce": BceLoss,
    "focal": FocalLoss,
    "hinge": HingeLoss,
    "dice": DiceLoss,
    "jaccard": JaccardLoss,
    "tversky": TverskyLoss,
    "focal_tversky": FocalTverskyLoss,
    "lovasz_hinge": LovaszHingeLoss,
    "lovasz_softmax": LovaszSoftmaxLoss,
}
"""Name in a schedule → loss; the parameters stand in `saltern.config.losses`."""


def build_loss(terms: Sequence[LossTerm]) -> "WeightedSum":
    """The weighted sum of the losses that `terms` name.

    Raises:
        ConfigError: no term, an unknown name, a name twice, a parameter that the loss refuses.
    """
    if not terms:
        raise ConfigError("a loss needs at least one term, such as {bce: 1.0}.")
    losses: dict[str, tuple[float, nn.Module]] = {}
    for term in terms:
        if term.name not in LOSSES:
            raise ConfigError(unknown("loss", term.name, list(LOSSES)))
        if term.name in losses:
            raise ConfigError(f"loss {term.name!r} stands twice; add the weights up.")
        try:
            losses[term.name] = (term.weight, LOSSES[term.name](**term.params))
        except TypeError as error:
            raise ConfigError(f"loss {term.name!r} with {term.params}: {error}") from None
    return WeightedSum(losses)


class WeightedSum(nn.Module):
    """Sum of weight times loss, which also hands out each term's value."""

    def __init__(self, losses: dict[str, tuple[float, nn.Module]]) -> None:
        super().__init__()
        self.weights = {name: weight for name, (weight, _) in losses.items()}
        self.losses = nn.ModuleDict({name: loss for name, (_, loss) in losses.items()})

    def forward(self, logits: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and {name: value of the term before its weight}, detached scalars on the device of `logits`."""
        values = {name: loss(logits, target) for name, loss in self.losses.items()}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, {name: value.detach() for name, value in values.items()}


NONE_ENDED: Mapping[str, int] = MappingProxyType({})
"""Every phase takes the epochs that the schedule gives it."""


class Position(NamedTuple):
    """Where in a schedule an epoch lies."""

    number: int
    """Number of the phase, from 0."""
    name: str
    phase: PhaseConfig
    epoch: int
    """Number of the epoch within the phase, from 0."""

    @property
    def sampling(self) -> float | None:
        """The share of empty images in this epoch, in [0, 1]; None where the phase shows every image once.

        A line over the epochs that the phase is configured for; a phase of one epoch has the first share.
        """
        shares = self.phase.shares()
        if shares is None:
            return None
        way = self.epoch / max(self.phase.epochs - 1, 1)
        return shares[0] * (1 - way) + shares[1] * way


class Schedule:
    """The phases in their order.

    Where an epoch lies depends on its number, and on what `TrainState.ended` says of phases that took fewer epochs
    than they might: phase → the epochs that it took, 0 where it never began. Resuming needs nothing else.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.phases = list(config.phases.items())
        self.epochs = self.total({})
        """Epochs of all phases together, where none ends early."""

    def lengths(self, ended: Mapping[str, int]) -> dict[str, int]:
        """Phase → its epochs: those of `ended`, else those that the schedule gives it."""
        return {name: ended.get(name, phase.epochs) for name, phase in self.phases}

    def total(self, ended: Mapping[str, int]) -> int:
        """Epochs of all phases together."""
        return sum(self.lengths(ended).values())

    def at(self, epoch: int, ended: Mapping[str, int] = NONE_ENDED) -> Position:
        """The phase of `epoch`, counted from 0 to below `total(ended)`.

        Raises:
            IndexError: an epoch outside the schedule.
        """
        first = 0
        lengths = self.lengths(ended)
        for number, (name, phase) in enumerate(self.phases):
            if 0 <= epoch - first < lengths[name]:
                return Position(number, name, phase, epoch - first)
            first += lengths[name]
        raise IndexError(f"epoch {epoch} lies outside the schedule; expected 0 to {first - 1}.")
