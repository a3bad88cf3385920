"""Every loss in the forms that a schedule may ask for; the numeric contract is tested on each."""

import torch
from torch import nn

from saltern.losses import (
    BceLoss,
    DiceLoss,
    FocalLoss,
    FocalTverskyLoss,
    HingeLoss,
    JaccardLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    TverskyLoss,
)

CASES: dict[str, nn.Module] = {
    "bce": BceLoss(),
    "bce, weighted and smoothed": BceLoss(pos_weight=3.0, label_smoothing=0.1),
    "focal": FocalLoss(),
    "focal, weighted": FocalLoss(gamma=0.5, alpha=0.8),
    "hinge": HingeLoss(),
    "dice": DiceLoss(),
    "dice, bare": DiceLoss(smooth=0.0),
    "dice, squared, batch": DiceLoss(squared=True, per_image=False),
    "dice, empty skipped": DiceLoss(empty="skip"),
    "jaccard": JaccardLoss(),
    "jaccard, empty mean": JaccardLoss(empty="mean"),
    "tversky": TverskyLoss(alpha=0.3, beta=0.7),
    "focal_tversky": FocalTverskyLoss(),
    "focal_tversky, bare": FocalTverskyLoss(smooth=0.0),
    "lovasz_hinge": LovaszHingeLoss(),
    "lovasz_hinge, batch": LovaszHingeLoss(per_image=False),
    "lovasz_hinge, elu1": LovaszHingeLoss(activation="elu1"),
    "lovasz_hinge, symmetric": LovaszHingeLoss(symmetric=True),
    "lovasz_hinge, all": LovaszHingeLoss(activation="elu1", symmetric=True, skip_empty=True),
    "lovasz_softmax": LovaszSoftmaxLoss(),
    "lovasz_softmax, images": LovaszSoftmaxLoss(per_image=True),
    "lovasz_softmax, all": LovaszSoftmaxLoss(classes="all"),
    "lovasz_softmax, one": LovaszSoftmaxLoss(classes=[1]),
}


def random_batch(shape: tuple[int, ...] = (4, 1, 6, 7), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and a target of bytes: an empty image, one with void, one of nothing but void, a mixed one."""
    generator = torch.Generator().manual_seed(seed)
    logits = 1.5 * torch.randn(shape, generator=generator)
    target = torch.randint(0, 2, (shape[0], *shape[2:]), generator=generator).to(torch.uint8)
    target[0] = 0
    target[1, ::3] = 255
    target[2] = 255
    return logits, target
