"""What every network returns."""

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """The logits of a mask, and those of the heads that the network carries.

    A tuple, so that autocast, DDP and export see its tensors.
    """

    logits: Tensor
    """(B, 1, H, W) at the size of the images."""
    presence: Tensor | None = None
    """(B, 1): whether the image holds any foreground. None without such a head."""
    deep: tuple[Tensor, ...] = ()
    """(B, 1, h, w) each, coarse to fine: masks from features that are coarser than those of `logits`. In training."""
