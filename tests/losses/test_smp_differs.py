"""What `docs/losses.md` says of segmentation-models-pytorch, and where it would no longer be true."""

import pytest
import torch
from segmentation_models_pytorch import losses as smp

from saltern.losses import bce, dice, lovasz_hinge


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 1, 8, 8, generator=generator), torch.randint(0, 2, (2, 1, 8, 8), generator=generator).float()


def test_its_dice_counts_smooth_twice(batch):
    theirs = smp.DiceLoss("binary", smooth=10.0)(*batch)
    torch.testing.assert_close(theirs, dice(*batch, smooth=20.0, per_image=False))


@pytest.mark.parametrize("loss", [smp.DiceLoss, smp.JaccardLoss, smp.TverskyLoss])
def test_its_overlap_losses_give_an_empty_batch_neither_loss_nor_gradient(loss):
    logits = torch.full((2, 1, 4, 4), 3.0, requires_grad=True)
    value = loss("binary", smooth=1.0)(logits, torch.zeros(2, 1, 4, 4))
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_its_lovasz_loss_is_per_batch_unless_asked_and_ignores_from_logits(batch):
    torch.testing.assert_close(smp.LovaszLoss("binary")(*batch), lovasz_hinge(*batch, per_image=False))
    same = smp.LovaszLoss("binary", from_logits=False)(*batch)
    assert torch.equal(same, smp.LovaszLoss("binary")(*batch))


def test_its_cross_entropy_divides_by_ignored_pixels_too(batch):
    logits, target = batch
    target[:, :, :4] = 255
    theirs = smp.SoftBCEWithLogitsLoss(ignore_index=255)(logits, target)
    torch.testing.assert_close(theirs, bce(logits, target) / 2)
