import pytest
import torch
from segmentation_models_pytorch.losses import JaccardLoss as SmpJaccard
from segmentation_models_pytorch.losses import TverskyLoss as SmpTversky

from saltern.losses import (
    DiceLoss,
    FocalTverskyLoss,
    JaccardLoss,
    TverskyLoss,
    dice,
    focal_tversky,
    jaccard,
    tversky,
)

PROBS = torch.tensor([[[[0.8, 0.6], [0.3, 0.9]]]])
TARGET = torch.tensor([[[1, 1], [0, 255]]])
"""I = 1.4, A = 1.7, B = 2, FP = 0.3, FN = 0.6; squared A = 1.09, FP = 0.09, FN = 0.2."""


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 7, 6, generator=generator)
    target = torch.randint(0, 2, (4, 7, 6), generator=generator)
    target[1, :2] = 255
    return logits, target


def _logits(probs: torch.Tensor) -> torch.Tensor:
    return torch.logit(probs.double())


@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        (dice, {"smooth": 0.0}, 1 - 2.8 / 3.7),
        (dice, {"smooth": 1.0}, 1 - 3.8 / 4.7),
        (dice, {"smooth": 1.0, "squared": True}, 1 - 3.8 / (1.09 - 0.09 + 0.09 + 2 + 1 - 0.09 + 0.09)),
        (jaccard, {"smooth": 0.0}, 1 - 1.4 / 2.3),
        (jaccard, {"smooth": 1.0}, 1 - 2.4 / 3.3),
        (jaccard, {"smooth": 0.0, "squared": True}, 1 - 1.4 / (1.09 + 2 - 1.4)),
        (tversky, {"alpha": 0.3, "beta": 0.7, "smooth": 0.0}, 1 - 1.4 / (1.4 + 0.3 * 0.3 + 0.7 * 0.6)),
        (tversky, {"alpha": 0.3, "beta": 0.7, "smooth": 2.0}, 1 - 2.4 / (2.4 + 0.3 * 0.3 + 0.7 * 0.6)),
        (tversky, {"alpha": 0.3, "beta": 0.7, "smooth": 0.0, "squared": True}, 1 - 1.4 / (1.4 + 0.027 + 0.14)),
        (
            focal_tversky,
            {"alpha": 0.3, "beta": 0.7, "gamma": 0.75, "smooth": 0.0},
            (1 - 1.4 / (1.4 + 0.3 * 0.3 + 0.7 * 0.6)) ** 0.75,
        ),
    ],
)
def test_a_table_computed_by_hand(loss, options, expected):
    assert loss(_logits(PROBS), TARGET, **options).item() == pytest.approx(expected)


OPTIONS = [{"smooth": 0.0}, {"smooth": 3.0}, {"squared": True}, {"per_image": False}, {"empty": "mean"}]


@pytest.mark.parametrize("options", OPTIONS)
def test_tversky_with_halves_is_dice_and_with_ones_is_jaccard(batch, options):
    torch.testing.assert_close(tversky(*batch, alpha=0.5, beta=0.5, **options), dice(*batch, **options))
    torch.testing.assert_close(tversky(*batch, alpha=1.0, beta=1.0, **options), jaccard(*batch, **options))


@pytest.mark.parametrize("options", OPTIONS)
def test_focal_tversky_with_gamma_1_is_tversky(batch, options):
    expected = tversky(*batch, alpha=0.2, beta=0.9, **options)
    torch.testing.assert_close(focal_tversky(*batch, alpha=0.2, beta=0.9, gamma=1.0, **options), expected)


def test_of_one_image_dice_and_jaccard_follow_from_each_other(batch):
    logits, target = batch[0][:1], batch[1][:1]
    overlap = 1 - jaccard(logits, target, smooth=0.0)
    torch.testing.assert_close(1 - dice(logits, target, smooth=0.0), 2 * overlap / (1 + overlap))


def test_alpha_weights_false_positives_and_beta_false_negatives():
    everything, nothing = torch.full((1, 1, 2, 2), 20.0), torch.full((1, 1, 2, 2), -20.0)
    target = torch.tensor([[[1, 1], [0, 0]]])
    kept = {"alpha": 0.3, "beta": 0.7, "smooth": 0.0}
    assert tversky(everything, target, **kept).item() == pytest.approx(0.3 * 2 / (2 + 0.3 * 2))
    assert tversky(nothing, target, **kept | {"smooth": 1.0}).item() == pytest.approx(0.7 * 2 / (0.7 * 2 + 0.5))


def test_the_focal_exponent_is_applied_image_by_image(batch):
    each = [tversky(batch[0][i : i + 1], batch[1][i : i + 1], alpha=0.3, beta=0.7) for i in range(4)]
    expected = sum(value**0.75 for value in each) / 4
    torch.testing.assert_close(focal_tversky(*batch), expected)


def test_over_the_batch_one_loss_is_taken(batch):
    wide = batch[0].reshape(1, 1, 28, 6), batch[1].reshape(1, 28, 6)
    torch.testing.assert_close(dice(*batch, per_image=False), dice(*wide))


@pytest.mark.parametrize("smooth", [0.0, 5.0])
def test_jaccard_over_the_batch_agrees_with_smp(batch, smooth):
    logits, target = batch[0], torch.where(batch[1] == 255, 0, batch[1])
    theirs = SmpJaccard("binary", smooth=smooth)(logits, target)
    torch.testing.assert_close(jaccard(logits, target, per_image=False, smooth=smooth), theirs)


def test_tversky_over_the_batch_agrees_with_smp(batch):
    logits, target = batch[0], torch.where(batch[1] == 255, 0, batch[1])
    theirs = SmpTversky("binary", alpha=0.3, beta=0.7)(logits, target)
    torch.testing.assert_close(tversky(logits, target, per_image=False, alpha=0.3, beta=0.7, smooth=0.0), theirs)


# --------------------------------------------------------------------------------------- empty truth
EMPTY = torch.tensor([[[0, 0], [0, 255]]])
MASS, MASS_SQUARED = 0.8 + 0.6 + 0.3, 0.64 + 0.36 + 0.09


@pytest.mark.parametrize(
    ("loss", "options", "expected"),
    [
        (dice, {"smooth": 1.0}, MASS / (MASS + 1)),
        (dice, {"smooth": 4.0, "squared": True}, MASS_SQUARED / (MASS_SQUARED + 4)),
        (jaccard, {"smooth": 1.0}, MASS / (MASS + 1)),
        (tversky, {"alpha": 0.3, "beta": 0.9, "smooth": 2.0}, 0.3 * MASS / (0.3 * MASS + 0.6 * 2)),
        (dice, {"smooth": 0.0}, MASS / 3),
        (dice, {"smooth": 1.0, "empty": "mean"}, MASS / 3),
        (dice, {"empty": "mean", "squared": True}, MASS_SQUARED / 3),
        (focal_tversky, {"smooth": 0.0, "gamma": 0.75}, (MASS / 3) ** 0.75),
    ],
)
def test_an_empty_truth_costs_what_the_formula_says_and_pushes_every_false_positive_down(loss, options, expected):
    logits = _logits(PROBS).requires_grad_()
    value = loss(logits, EMPTY, **options)
    value.backward()
    assert value.item() == pytest.approx(expected)
    pushes = logits.grad.flatten()
    assert (pushes[:3] > 1e-3).all()
    assert pushes[3] == 0


@pytest.mark.parametrize("options", [{"smooth": 0.0}, {"smooth": 1.0, "empty": "mean"}])
def test_the_mean_pushes_hard_even_where_the_whole_image_is_wrong(options):
    """The formula's push fades with the square of the wrong mass: that is what `mean` is for."""
    pushes = {}
    for name, chosen in {"mean": options, "formula": {"smooth": 1.0}}.items():
        logits = torch.zeros(1, 1, 100, 100, requires_grad=True)
        dice(logits, torch.zeros(1, 100, 100), **chosen).backward()
        pushes[name] = logits.grad.sum().item()
    assert pushes["mean"] == pytest.approx(0.25)
    assert 0 < pushes["formula"] < 1e-3


def test_skip_leaves_empty_images_out_of_the_mean(batch):
    logits, target = batch[0], batch[1].clone()
    target[2] = 0
    rest = [0, 1, 3]
    torch.testing.assert_close(dice(logits, target, empty="skip"), dice(logits[rest], target[rest]))
    nothing = dice(logits[2:3].requires_grad_(), target[2:3], empty="skip")
    nothing.backward()
    assert nothing.item() == 0


def test_over_the_batch_a_single_foreground_pixel_makes_the_truth_not_empty():
    logits = torch.zeros(2, 1, 2, 2)
    target = torch.zeros(2, 2, 2)
    target[0, 0, 0] = 1
    assert dice(logits, target, per_image=False, smooth=0.0).item() == pytest.approx(1 - 2 * 0.5 / (4 + 1))


@pytest.mark.parametrize("gamma", [0.5, 0.75, 2.0])
@pytest.mark.parametrize("scale", [1e4, 30.0, 9.0])
def test_a_perfect_prediction_has_a_finite_gradient_whatever_the_exponent(gamma, scale):
    target = torch.tensor([[[1, 0], [0, 1]]])
    logits = (scale * (2.0 * target - 1))[:, None].requires_grad_()
    loss = focal_tversky(logits, target, gamma=gamma, smooth=0.0)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert loss.item() == pytest.approx(0, abs=0.03)


def test_modules_hand_their_options_on(batch):
    region = {"smooth": 2.0, "squared": True, "per_image": False, "empty": "mean", "ignore_index": 0}
    target = torch.where(batch[1] == 255, 0, batch[1])
    batch = batch[0], target
    torch.testing.assert_close(DiceLoss(**region)(*batch), dice(*batch, **region))
    torch.testing.assert_close(JaccardLoss(**region)(*batch), jaccard(*batch, **region))
    weights = {"alpha": 0.2, "beta": 0.6}
    torch.testing.assert_close(TverskyLoss(**weights, **region)(*batch), tversky(*batch, **weights, **region))
    weights["gamma"] = 1.5
    torch.testing.assert_close(
        FocalTverskyLoss(**weights, **region)(*batch), focal_tversky(*batch, **weights, **region)
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiceLoss(smooth=-1.0), "region.smooth=-1.0: expected a number of at least 0"),
        (lambda: DiceLoss(empty="ignore"), "region.empty='ignore': expected formula, mean or skip"),
        (lambda: TverskyLoss(alpha=0.0), "tversky.alpha=0.0: expected a positive number"),
        (lambda: FocalTverskyLoss(gamma=0.0), "focal_tversky.gamma=0.0: expected a positive number"),
    ],
)
def test_a_parameter_out_of_range_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
