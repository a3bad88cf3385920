"""The overlap losses Dice, Jaccard, Tversky and focal Tversky, on one kernel.

With p = sigmoid(logit), y the truth, sums over the valid pixels of an image (or of the batch):

    I = sum y p        FP = sum (1 - y) p^k        FN = sum y (1 - p)^k        k = 2 if `squared` else 1

    index = (I + c smooth) / (I + alpha FP + beta FN + c smooth)        c = (alpha + beta) / 2        loss = 1 - index

The factor c makes `smooth` mean in each loss what its own literature means by it, counted once above and below:

    Dice     alpha = beta = 1/2    index = (2 I + smooth) / (A + B + smooth)         A = sum p^k, B = sum y
    Jaccard  alpha = beta = 1      index = (I + smooth) / (A + B - I + smooth)

`squared` gives for Dice the denominator `sum p^2 + sum y^2` of V-Net (Milletari et al., arXiv 1606.04797).

Empty truth (no foreground among the valid pixels of an image, with `per_image=False` of the batch), option `empty`:

    formula   the formula above: alpha FP / (alpha FP + c smooth), for Dice m / (m + smooth) with m = sum p^k. Every
              false positive is pushed down, gently while m is far above `smooth`. With smooth = 0 this would be 1
              whatever the prediction, so `mean` takes its place.
    mean      the mean of p^k over the valid pixels: from 0 to 1, and pushing all false positives down equally.
    skip      such images are left out of the mean over images.

The parameters that all four share are those of `Region`; functions and modules take them by name.
"""

from dataclasses import dataclass
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from saltern.config.losses import check_params
from saltern.losses.targets import VOID, prepare


@dataclass(frozen=True, kw_only=True)
class Region:
    """What all overlap losses let one choose."""

    smooth: float = 1.0
    """At least 0, in pixels; keeps the loss of small and empty masks from jumping."""
    squared: bool = False
    """Square the probabilities in the denominator."""
    per_image: bool = True
    """One loss an image, then the mean over images with a valid pixel; else one loss for the batch."""
    empty: str = "formula"
    """What an image without foreground costs: `formula`, `mean` or `skip`, as told at the top of this module."""
    ignore_index: int = 255
    """Value of the pixels that are left out. Nothing but such pixels: loss 0 with gradient 0."""

    def __post_init__(self) -> None:
        params = {"smooth": self.smooth, "squared": self.squared, "per_image": self.per_image, "empty": self.empty}
        check_params("dice", params, "region")


class RegionOptions(TypedDict, total=False):
    """The fields of `Region` as keyword arguments."""

    smooth: float
    squared: bool
    per_image: bool
    empty: str
    ignore_index: int


def dice(logits: Tensor, target: Tensor, **options: Unpack[RegionOptions]) -> Tensor:
    """Dice loss `1 - (2 I + smooth) / (A + B + smooth)`, in [0, 1]; shapes and errors as in `focal_tversky`."""
    return _loss(logits, target, 0.5, 0.5, 1.0, Region(**options))


def jaccard(logits: Tensor, target: Tensor, **options: Unpack[RegionOptions]) -> Tensor:
    """Jaccard (IoU) loss `1 - (I + smooth) / (A + B - I + smooth)`; shapes and errors as in `focal_tversky`."""
    return _loss(logits, target, 1.0, 1.0, 1.0, Region(**options))


def tversky(
    logits: Tensor, target: Tensor, *, alpha: float = 0.5, beta: float = 0.5, **options: Unpack[RegionOptions]
) -> Tensor:
    """Tversky loss `1 - index` (Salehi et al., arXiv 1706.05721); arguments as in `focal_tversky`."""
    check_params("tversky", {"alpha": alpha, "beta": beta})
    return _loss(logits, target, alpha, beta, 1.0, Region(**options))


def focal_tversky(
    logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    **options: Unpack[RegionOptions],
) -> Tensor:
    """Focal Tversky loss `(1 - index)^gamma`, in [0, 1].

    Abraham and Khan (arXiv 1810.07842), who write the exponent as 1/gamma (their 4/3 is 0.75 here) and let their
    alpha weight false negatives.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) or (B, H, W), values 0, 1 and `ignore_index`.
        alpha: positive weight of false positives.
        beta: positive weight of false negatives; above `alpha` it favours recall.
        gamma: positive exponent, applied to each image's loss; below 1 it stresses images that are nearly right.
        options: the fields of `Region`.

    Raises:
        ValueError: wrong shape or dtype.
        ConfigError: a parameter out of range.
        DataError: other values in the target.
    """
    check_params("focal_tversky", {"alpha": alpha, "beta": beta, "gamma": gamma})
    return _loss(logits, target, alpha, beta, gamma, Region(**options))


def _loss(logits: Tensor, target: Tensor, alpha: float, beta: float, gamma: float, region: Region) -> Tensor:
    logits, labels = prepare(logits, target, region.ignore_index)
    segments = logits.shape[0] if region.per_image else 1
    scores, labels = logits.reshape(segments, -1), labels.reshape(segments, -1)
    foreground, background = labels == 1, labels == 0
    probs = torch.sigmoid(scores)
    hit = torch.where(foreground, probs, 0).sum(1)
    false = torch.where(background, probs, 0)
    missed = torch.where(foreground, torch.sigmoid(-scores), 0)
    if region.squared:
        false, missed = false.square(), missed.square()
    wrong = alpha * false.sum(1) + beta * missed.sum(1)
    losses = _ratio(wrong, hit + wrong + (alpha + beta) / 2 * region.smooth)
    counted, no_truth = (labels != VOID).any(1), ~foreground.any(1)
    if region.empty == "skip":
        counted = counted & ~no_truth
    elif region.empty == "mean" or region.smooth == 0:
        losses = torch.where(no_truth, _ratio(false.sum(1), background.sum(1)), losses)
    return _ratio((_power(losses, gamma) * counted).sum(), counted.sum())


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """`part / whole`, and 0 with gradient 0 where `whole` is 0."""
    return torch.where(whole > 0, part / torch.where(whole > 0, whole, 1), 0)


def _power(losses: Tensor, gamma: float) -> Tensor:
    """`losses ** gamma` with gradient 0, not infinity, at 0."""
    if gamma == 1:
        return losses
    return torch.where(losses > 0, torch.where(losses > 0, losses, 1) ** gamma, 0)


class DiceLoss(nn.Module):
    """`dice` with its options kept."""

    def __init__(self, **options: Unpack[RegionOptions]) -> None:
        super().__init__()
        self.region = Region(**options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `focal_tversky`."""
        return _loss(logits, target, 0.5, 0.5, 1.0, self.region)


class JaccardLoss(nn.Module):
    """`jaccard` with its options kept."""

    def __init__(self, **options: Unpack[RegionOptions]) -> None:
        super().__init__()
        self.region = Region(**options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `focal_tversky`."""
        return _loss(logits, target, 1.0, 1.0, 1.0, self.region)


class TverskyLoss(nn.Module):
    """`tversky` with its options kept."""

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, **options: Unpack[RegionOptions]) -> None:
        super().__init__()
        check_params("tversky", {"alpha": alpha, "beta": beta})
        self.alpha, self.beta, self.region = alpha, beta, Region(**options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `focal_tversky`."""
        return _loss(logits, target, self.alpha, self.beta, 1.0, self.region)


class FocalTverskyLoss(nn.Module):
    """`focal_tversky` with its options kept."""

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, **options: Unpack[RegionOptions]
    ) -> None:
        super().__init__()
        check_params("focal_tversky", {"alpha": alpha, "beta": beta, "gamma": gamma})
        self.alpha, self.beta, self.gamma, self.region = alpha, beta, gamma, Region(**options)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Scalar loss; shapes as in `focal_tversky`."""
        return _loss(logits, target, self.alpha, self.beta, self.gamma, self.region)
