import math

import pytest
import torch
from segmentation_models_pytorch.losses import FocalLoss as SmpFocal

from saltern.losses import BceLoss, FocalLoss, HingeLoss, bce, focal, hinge

LOGITS = torch.tensor([[[[2.0, -1.0], [0.0, 3.0]]]])
TARGET = torch.tensor([[[1, 1], [0, 255]]])


def _log_sigmoid(logit: float) -> float:
    return -math.log(1 + math.exp(-logit))


def test_bce_of_a_table_computed_by_hand():
    expected = -(_log_sigmoid(2) + _log_sigmoid(-1) + _log_sigmoid(0)) / 3
    assert bce(LOGITS, TARGET).item() == pytest.approx(expected)


def test_pos_weight_multiplies_the_foreground_only():
    expected = -(5 * _log_sigmoid(2) + 5 * _log_sigmoid(-1) + _log_sigmoid(0)) / 3
    assert bce(LOGITS, TARGET, pos_weight=5.0).item() == pytest.approx(expected)


def test_label_smoothing_moves_both_labels_towards_one_half():
    def smoothed(logit: float, truth: float) -> float:
        return -(truth * _log_sigmoid(logit) + (1 - truth) * _log_sigmoid(-logit))

    expected = (smoothed(2, 0.9) + smoothed(-1, 0.9) + smoothed(0, 0.1)) / 3
    assert bce(LOGITS, TARGET, label_smoothing=0.2).item() == pytest.approx(expected)


def test_focal_of_a_table_computed_by_hand():
    def cost(right: float) -> float:
        return -((1 - math.exp(_log_sigmoid(right))) ** 1.5) * _log_sigmoid(right)

    expected = (cost(2) + cost(-1) + cost(0)) / 3
    assert focal(LOGITS, TARGET, gamma=1.5).item() == pytest.approx(expected)
    weighted = (0.8 * cost(2) + 0.8 * cost(-1) + 0.2 * cost(0)) / 3
    assert focal(LOGITS, TARGET, gamma=1.5, alpha=0.8).item() == pytest.approx(weighted)


def test_focal_with_gamma_0_is_cross_entropy():
    torch.testing.assert_close(focal(LOGITS, TARGET, gamma=0.0), bce(LOGITS, TARGET))


@pytest.mark.parametrize("alpha", [None, 0.25, 0.75])
def test_focal_agrees_with_smp(alpha):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 9, 9, generator=generator)
    target = torch.randint(0, 2, (2, 1, 9, 9), generator=generator)
    target[0, 0, :3] = 255
    theirs = SmpFocal("binary", alpha=alpha, gamma=2.0, ignore_index=255)(logits, target)
    torch.testing.assert_close(focal(logits, target, gamma=2.0, alpha=alpha), theirs)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_focal_has_a_finite_gradient_where_the_network_is_certain(gamma):
    logits = torch.tensor([1e4, -1e4, 200.0, -200.0, 0.0]).view(1, 1, 1, 5).requires_grad_()
    focal(logits, torch.ones(1, 1, 5), gamma=gamma).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0, 0, 1].item() == pytest.approx(-1 / 5)


def test_hinge_of_a_table_computed_by_hand():
    assert hinge(LOGITS, TARGET).item() == pytest.approx((0 + 2 + 1) / 3)


def test_modules_hand_their_options_on():
    pairs = [
        (BceLoss(pos_weight=3.0, label_smoothing=0.1), bce(LOGITS, TARGET, pos_weight=3.0, label_smoothing=0.1)),
        (BceLoss(ignore_index=0), bce(LOGITS, torch.tensor([[[1, 1], [255, 255]]]))),
        (FocalLoss(gamma=1.0, alpha=0.3), focal(LOGITS, TARGET, gamma=1.0, alpha=0.3)),
    ]
    targets = [TARGET, torch.tensor([[[1, 1], [0, 0]]]), TARGET]
    for (module, expected), target in zip(pairs, targets, strict=True):
        torch.testing.assert_close(module(LOGITS, target), expected)
    torch.testing.assert_close(HingeLoss()(LOGITS, TARGET), hinge(LOGITS, TARGET))


def test_an_image_without_truth_costs_bce_its_false_positives():
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    bce(logits, torch.zeros(1, 2, 2)).backward()
    assert (logits.grad > 0).all()
