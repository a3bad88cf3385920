"""The Lovász losses: the Jaccard index itself, extended to real-valued predictions so that it has a gradient.

Berman, Triki, Blaschko: The Lovász-Softmax loss (CVPR 2018, arXiv 1705.08790); the extension is that of Yu and
Blaschko's Lovász hinge (ICML 2015, arXiv 1512.07797). How it is computed is told in `lovasz_kernel`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saltern.config.losses import check_params
from saltern.losses.lovasz_kernel import lovasz
from saltern.losses.targets import VOID, byte_labels, check_logits, full_precision, prepare


def lovasz_hinge(
    logits: Tensor,
    target: Tensor,
    *,
    per_image: bool = True,
    activation: str = "relu",
    symmetric: bool = False,
    skip_empty: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    """Lovász extension of the Jaccard loss over the hinge errors `1 - logit` (foreground) and `1 + logit` (background).

    A value of 0 means that every pixel is right with a margin of 1. The loss is unbounded above. A mask of a network
    trained with it is `logit > 0`.

    Empty truth: the loss is the activated error of the worst pixel alone, and so is the gradient. `skip_empty` leaves
    such images out, `symmetric` adds the complement, which spreads the gradient over all wrong pixels.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) or (B, H, W), values 0, 1 and `ignore_index`.
        per_image: one Jaccard loss an image, then the mean over images with a valid pixel; else one for the batch.
        activation: of the errors: `relu`, or `elu1` for elu(error) + 1, which stays positive for right pixels and
            keeps pushing them (the choice of several TGS winners).
        symmetric: mean of this loss and of the loss of the complement (logits negated, foreground and background
            exchanged).
        skip_empty: leave images without foreground out of the mean (for the complement: without background).
        ignore_index: value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0.

    Raises:
        ValueError: wrong shape, dtype or activation.
        DataError: other values in the target.
    """
    check_params("lovasz_hinge", {"activation": activation})
    logits, labels = prepare(logits, target, ignore_index)
    segments = logits.shape[0] if per_image else 1
    rows = logits.reshape(segments, -1), labels.reshape(segments, -1)
    return lovasz(*rows, 1.0, segments, activation == "elu1", symmetric, skip_empty)[0]


def lovasz_softmax(
    probs: Tensor,
    target: Tensor,
    *,
    classes: str | Sequence[int] = "present",
    per_image: bool = False,
    ignore_index: int = 255,
) -> Tensor:
    """Lovász extension of the Jaccard loss over the errors `|[target = c] - probs_c|`, mean over classes c.

    Between 0 (perfect) and 1. An absent class that is counted (`classes="all"` or named in a list) costs its highest
    probability.

    Args:
        probs: (B, C, H, W) in [0, 1]; softmax is the caller's.
        target: (B, 1, H, W) or (B, H, W), values 0 to C - 1 and `ignore_index`.
        classes: `present` (those with a pixel in the target), `all`, or a list of class numbers.
        per_image: one loss an image, then the mean over images with a valid pixel; else one for the batch.
        ignore_index: value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0.

    Raises:
        ValueError: wrong shape, dtype or classes.
        DataError: other values in the target.
    """
    check_logits(probs, "probs")
    batch, channels = probs.shape[:2]
    if not 2 <= channels <= 255:
        raise ValueError(
            f"probs: shape {tuple(probs.shape)} has {channels} classes; expected 2 to 255. "
            "For one foreground channel pass torch.cat([1 - probs, probs], dim=1)."
        )
    chosen = _chosen(classes, channels)
    labels = byte_labels(target, probs, ignore_index, channels)
    one_hot = torch.stack([labels == number for number in chosen], dim=1).to(torch.uint8)
    one_hot = one_hot.masked_fill((labels == VOID)[:, None], VOID)
    if isinstance(classes, str):
        scores = full_precision(probs)
    else:
        scores = full_precision(torch.stack([probs[:, number] for number in chosen], dim=1))
    if not per_image:
        scores, one_hot = scores.transpose(0, 1), one_hot.transpose(0, 1)
    groups = batch if per_image else 1
    rows = scores.reshape(groups * len(chosen), -1), one_hot.reshape(groups * len(chosen), -1)
    return lovasz(*rows, 0.0, groups, False, False, classes == "present")[0]


def _chosen(classes: str | Sequence[int], channels: int) -> list[int]:
    check_params("lovasz_softmax", {"classes": classes})
    if isinstance(classes, str):
        return list(range(channels))
    if max(classes) >= channels:
        raise ValueError(f"classes={list(classes)}: expected numbers from 0 to {channels - 1} for {channels} classes.")
    return list(classes)


class LovaszHingeLoss(nn.Module):
    """`lovasz_hinge` with its options kept."""

    def __init__(
        self,
        per_image: bool = True,
        activation: str = "relu",
        symmetric: bool = False,
        skip_empty: bool = False,
        ignore_index: int = 255,
    ) -> None:
        super().__init__()
        check_params(
            "lovasz_hinge",
            {"per_image": per_image, "activation": activation, "symmetric": symmetric, "skip_empty": skip_empty},
        )
        self.per_image, self.activation = per_image, activation
        self.symmetric, self.skip_empty = symmetric, skip_empty
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `lovasz_hinge`."""
        return lovasz_hinge(
            logits,
            target,
            per_image=self.per_image,
            activation=self.activation,
            symmetric=self.symmetric,
            skip_empty=self.skip_empty,
            ignore_index=self.ignore_index,
        )


class LovaszSoftmaxLoss(nn.Module):
    """`lovasz_softmax` of logits: (B, C, H, W) go through softmax, (B, 1, H, W) through sigmoid as classes 0 and 1."""

    def __init__(
        self, classes: str | Sequence[int] = "present", per_image: bool = False, ignore_index: int = 255
    ) -> None:
        super().__init__()
        check_params("lovasz_softmax", {"classes": classes, "per_image": per_image})
        self.classes, self.per_image, self.ignore_index = classes, per_image, ignore_index

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; `target` as in `lovasz_softmax`."""
        check_logits(logits, "logits")
        scores = full_precision(logits)
        if scores.shape[1] == 1:
            probs = torch.cat([torch.sigmoid(-scores), torch.sigmoid(scores)], dim=1)
        else:
            probs = torch.softmax(scores, dim=1)
        return lovasz_softmax(
            probs, target, classes=self.classes, per_image=self.per_image, ignore_index=self.ignore_index
        )
