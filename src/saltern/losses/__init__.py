"""Losses on float32 logits (B,1,H,W) and targets {0, 1, 255}; 255 is ignored."""

from saltern.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss, lovasz_hinge, lovasz_softmax
from saltern.losses.pixel import BceLoss, FocalLoss, HingeLoss, bce, focal, hinge
from saltern.losses.schedule import LOSSES, Position, Schedule, WeightedSum, build_loss

__all__ = [
    "LOSSES",
    "BceLoss",
    "FocalLoss",
    "HingeLoss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "Position",
    "Schedule",
    "WeightedSum",
    "bce",
    "build_loss",
    "focal",
    "hinge",
    "lovasz_hinge",
    "lovasz_softmax",
]
