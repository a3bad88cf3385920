"""Losses that are a mean over valid pixels: cross-entropy, focal, hinge."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from saltern.config.losses import check_params
from saltern.losses.targets import VOID, prepare


def bce(
    logits: Tensor, target: Tensor, *, pos_weight: float = 1.0, label_smoothing: float = 0.0, ignore_index: int = 255
) -> Tensor:
    """Binary cross-entropy: mean of `-pos_weight y log p - (1 - y) log(1 - p)` over valid pixels, p = sigmoid(logit).

    Empty truth is nothing special: every false positive costs, whatever the truth holds.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) or (B, H, W), values 0, 1 and `ignore_index`.
        pos_weight: factor on the foreground's term; above 1 for rare foreground. The mean still divides by pixels.
        label_smoothing: e in [0, 1): y becomes `(1 - e) y + e / 2`, so 0 and 1 become e/2 and 1 - e/2.
        ignore_index: value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0.

    Raises:
        ValueError: wrong shape or dtype.
        DataError: other values in the target.
    """
    logits, labels = prepare(logits, target, ignore_index)
    valid = labels != VOID
    truth = (labels == 1).to(logits.dtype)
    if label_smoothing:
        truth = truth * (1 - label_smoothing) + label_smoothing / 2
    weight = None if pos_weight == 1 else logits.new_full((), pos_weight)
    losses = functional.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none")
    return _mean(losses, valid)


def focal(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = None, ignore_index: int = 255
) -> Tensor:
    """Focal loss: mean of `-w (1 - q)^gamma log q` over valid pixels, q = probability of the pixel's true class.

    Lin et al., Focal Loss for Dense Object Detection (ICCV 2017, arXiv 1708.02002), equation 5. `gamma=0` without
    `alpha` is cross-entropy. The mean divides by valid pixels (the paper's by anchors of the foreground).

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) or (B, H, W), values 0, 1 and `ignore_index`.
        gamma: at least 0; the higher, the less a pixel that is nearly right counts.
        alpha: w is `alpha` on foreground and `1 - alpha` on background; None: w = 1.
        ignore_index: value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0.

    Raises:
        ValueError: wrong shape or dtype.
        DataError: other values in the target.
    """
    logits, labels = prepare(logits, target, ignore_index)
    foreground = labels == 1
    right = torch.where(foreground, logits, -logits)
    # (1 - q)^gamma as exp(gamma log(1 - q)): finite, with a finite gradient, for any gamma and any logit
    losses = -torch.exp(gamma * functional.logsigmoid(-right)) * functional.logsigmoid(right)
    if alpha is not None:
        losses = losses * ((1 - alpha) + (2 * alpha - 1) * foreground.to(losses.dtype))
    return _mean(losses, labels != VOID)


def hinge(logits: Tensor, target: Tensor, *, ignore_index: int = 255) -> Tensor:
    """Hinge loss: mean of `max(0, 1 - logit)` on foreground and `max(0, 1 + logit)` on background, over valid pixels.

    Zero where the margin is at least 1. The Lovász hinge weights these same errors.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) or (B, H, W), values 0, 1 and `ignore_index`.
        ignore_index: value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0.

    Raises:
        ValueError: wrong shape or dtype.
        DataError: other values in the target.
    """
    logits, labels = prepare(logits, target, ignore_index)
    errors = torch.where(labels == 1, 1 - logits, 1 + logits)
    return _mean(errors.relu(), labels != VOID)


def _mean(losses: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, losses, 0).sum() / valid.sum().clamp(min=1)


class BceLoss(nn.Module):
    """`bce` with its options kept."""

    def __init__(self, pos_weight: float = 1.0, label_smoothing: float = 0.0, ignore_index: int = 255) -> None:
        super().__init__()
        check_params("bce", {"pos_weight": pos_weight, "label_smoothing": label_smoothing})
        self.pos_weight, self.label_smoothing, self.ignore_index = pos_weight, label_smoothing, ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `bce`."""
        return bce(
            logits,
            target,
            pos_weight=self.pos_weight,
            label_smoothing=self.label_smoothing,
            ignore_index=self.ignore_index,
        )


class FocalLoss(nn.Module):
    """`focal` with its options kept."""

    def __init__(self, gamma: float = 2.0, alpha: float | None = None, ignore_index: int = 255) -> None:
        super().__init__()
        check_params("focal", {"gamma": gamma, "alpha": alpha})
        self.gamma, self.alpha, self.ignore_index = gamma, alpha, ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `focal`."""
        return focal(logits, target, gamma=self.gamma, alpha=self.alpha, ignore_index=self.ignore_index)


class HingeLoss(nn.Module):
    """`hinge` as a module."""

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `hinge`."""
        return hinge(logits, target, ignore_index=self.ignore_index)
