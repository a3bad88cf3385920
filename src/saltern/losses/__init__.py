"""Losses on float32 logits (B,1,H,W) and targets {0, 1, 255}; 255 is ignored."""

from saltern.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss, lovasz_hinge, lovasz_softmax
from saltern.losses.pixel import BceLoss, FocalLoss, HingeLoss, bce, focal, hinge
from saltern.losses.region import (
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    Region,
    TverskyLoss,
    dice,
    focal_tversky,
    jaccard,
    tversky,
)
from saltern.losses.schedule import LOSSES, Position, Schedule, WeightedSum, build_loss

__all__ = [
    "LOSSES",
    "BceLoss",
    "DiceLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "HingeLoss",
    "JaccardLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "Position",
    "Region",
    "Schedule",
    "TverskyLoss",
    "WeightedSum",
    "bce",
    "build_loss",
    "dice",
    "focal",
    "focal_tversky",
    "hinge",
    "jaccard",
    "lovasz_hinge",
    "lovasz_softmax",
    "tversky",
]
