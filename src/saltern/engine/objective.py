"""What training minimises: the phase's loss on the mask, and what the heads add to it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from saltern.config import HeadsConfig
from saltern.losses import WeightedSum
from saltern.models import Outputs


class Objective(nn.Module):
    """The loss of a phase on a network's outputs.

    - Each of the `deep` masks has the phase's loss against the target at its size, brought there by taking the nearest
      pixel, so that it stays {0, 1, 255} (as in nnU-Net); their mean counts `deep_supervision` times.
    - The presence logit has binary cross-entropy against "any foreground among valid pixels", a mean over the images
      that have a valid pixel; it counts `empty` times.
    """

    def __init__(self, loss: WeightedSum, heads: HeadsConfig) -> None:
        super().__init__()
        self.loss = loss
        self.deep, self.empty = heads.deep_supervision, heads.empty

    def forward(self, outputs: Outputs, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and name → value of each term before its weight, detached; `targets` (B, 1, H, W) in {0, 1, 255}."""
        total, terms = self.loss(outputs.logits.float(), targets)
        if outputs.deep:
            assert self.deep is not None, "masks of a head that has no weight"
            deep = torch.stack([self._at_its_size(mask, targets) for mask in outputs.deep]).mean()
            total, terms["deep_supervision"] = total + self.deep * deep, deep.detach()
        if outputs.presence is not None:
            assert self.empty is not None, "a head that has no weight"
            empty = presence_loss(outputs.presence, targets)
            total, terms["empty"] = total + self.empty * empty, empty.detach()
        return total, terms

    def _at_its_size(self, mask: Tensor, targets: Tensor) -> Tensor:
        nearest = interpolate(targets, size=mask.shape[2:], mode="nearest-exact")
        total: Tensor = self.loss(mask.float(), nearest)[0]
        return total


def presence_loss(logit: Tensor, targets: Tensor) -> Tensor:
    """Mean binary cross-entropy of `logit` (B, 1) against whether `targets` (B, 1, H, W) hold foreground.

    Images without a valid pixel are left out; where all are, the loss is 0 with gradient 0.
    """
    flat = targets.flatten(1)
    holds, counts = (flat == 1).any(1, keepdim=True), (flat != 255).any(1, keepdim=True)
    losses = binary_cross_entropy_with_logits(logit.float(), holds.float(), reduction="none")
    return torch.where(counts, losses, 0).sum() / counts.sum().clamp(min=1)
