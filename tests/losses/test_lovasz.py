import warnings
from itertools import product

import lovasz_reference as reference
import numpy as np
import pytest
import torch
from segmentation_models_pytorch.losses import LovaszLoss

from saltern.losses import LovaszHingeLoss, LovaszSoftmaxLoss, lovasz_hinge, lovasz_softmax

ACTIVATIONS = {"relu": reference.relu, "elu1": reference.elu1}


def _image(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).reshape(1, 1, 1, -1)


def _random(shape: tuple[int, ...], seed: int, *, void: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and target; the first image is empty, the second full."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator)
    target = (torch.rand(shape, generator=generator) > 0.6).float()
    target[0], target[1] = 0, 1
    target[torch.rand(shape, generator=generator) < void] = 255
    return logits, target


# ----------------------------------------------------------------------------- the definition itself
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_on_every_set_of_wrong_pixels_the_hinge_is_the_jaccard_loss_of_that_set(dtype):
    bits = [np.array(row) for row in product([False, True], repeat=5)]
    for truth, wrong in product(bits, bits):
        sign = np.where(truth, 1, -1)
        value = lovasz_hinge(_image((sign * (1 - wrong)).astype(dtype)), _image(truth))
        assert value.item() == pytest.approx(reference.jaccard_loss(truth, wrong), abs=1e-6)


def test_on_every_set_of_wrong_pixels_the_softmax_loss_is_the_mean_jaccard_loss_of_both_classes():
    bits = [np.array(row) for row in product([False, True], repeat=4)]
    for truth, wrong in product(bits, bits):
        probs = torch.from_numpy(truth ^ wrong).float().reshape(1, 1, 2, 2)
        probs = torch.cat([1 - probs, probs], dim=1)
        value = lovasz_softmax(probs, _image(truth).reshape(1, 2, 2), classes="all")
        expected = (reference.jaccard_loss(truth, wrong) + reference.jaccard_loss(~truth, wrong)) / 2
        assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_hinge_is_the_largest_over_all_orders_and_the_integral_over_levels(seed):
    rng = np.random.default_rng(seed)
    truth, logits = rng.random(6) < rng.random(), 2 * rng.standard_normal(6)
    errors = reference.relu(1 - np.where(truth, 1, -1) * logits)
    value = lovasz_hinge(_image(logits), _image(truth)).item()
    assert value == pytest.approx(reference.by_orders(errors, truth), abs=1e-12)
    assert value == pytest.approx(reference.by_levels(errors, truth), abs=1e-12)
    single = lovasz_hinge(_image(logits.astype(np.float32)), _image(truth)).item()
    assert single == pytest.approx(value, rel=1e-6)


def test_a_table_computed_by_hand():
    """Truth 1 1 0 0; errors 2, 0.5, 1.5, 0; in order: fg 2 (1/2), bg 1.5 (1/6), fg 0.5 (1/3)."""
    logits = torch.tensor([-1.0, 0.5, 0.5, -1.0], requires_grad=True)
    loss = lovasz_hinge(logits.view(1, 1, 2, 2), torch.tensor([[[1, 1], [0, 0]]]))
    loss.backward()
    assert loss.item() == pytest.approx(2 / 2 + 1.5 / 6 + 0.5 / 3)
    torch.testing.assert_close(logits.grad, torch.tensor([-1 / 2, -1 / 3, 1 / 6, 0]))


# ------------------------------------------------------------------------------ against others' code
@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("void", [0.0, 0.3])
def test_the_hinge_has_the_value_and_gradient_of_smp(per_image, void):
    logits, target = _random((4, 1, 37, 41), 3, void=void)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = lovasz_hinge(ours, target, per_image=per_image)
    expected = LovaszLoss("binary", per_image=per_image, ignore_index=255)(theirs[:, 0], target[:, 0])
    torch.testing.assert_close(value, expected, rtol=5e-6, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=2e-7)


@pytest.mark.parametrize("per_image", [True, False])
@pytest.mark.parametrize("void", [0.0, 0.3])
def test_the_softmax_loss_has_the_value_and_gradient_of_smp(per_image, void):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(3, 4, 11, 13, generator=generator)
    target = torch.randint(0, 3, (3, 11, 13), generator=generator)  # class 3 is absent
    target[torch.rand(target.shape, generator=generator) < void] = 255
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value = LovaszSoftmaxLoss(per_image=per_image)(ours, target)
    expected = LovaszLoss("multiclass", per_image=per_image, ignore_index=255)(theirs, target)
    torch.testing.assert_close(value, expected, rtol=5e-6, atol=0)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=2e-7)


@pytest.mark.parametrize("activation", ["relu", "elu1"])
@pytest.mark.parametrize("skip_empty", [False, True])
@pytest.mark.parametrize("per_image", [True, False])
def test_in_single_precision_the_value_is_right_to_a_millionth(activation, skip_empty, per_image):
    logits, target = _random((5, 1, 64, 64), 7, void=0.1)
    value = lovasz_hinge(logits, target, per_image=per_image, activation=activation, skip_empty=skip_empty)
    rows = (5, -1) if per_image else (1, -1)
    expected = reference.hinge(
        logits.double().reshape(rows).numpy(), target.reshape(rows).numpy(), ACTIVATIONS[activation], skip_empty
    )
    assert value.item() == pytest.approx(expected, rel=1e-6)


# ------------------------------------------------------------------------------------------- options
@pytest.mark.parametrize("activation", ["relu", "elu1"])
@pytest.mark.parametrize("skip_empty", [False, True])
@pytest.mark.parametrize("per_image", [True, False])
def test_symmetric_is_the_mean_of_the_loss_and_the_loss_of_the_complement(activation, skip_empty, per_image):
    logits, target = _random((5, 1, 9, 8), 11, void=0.2)
    swapped = torch.where(target == 255, target, 1 - target)
    options = {"activation": activation, "skip_empty": skip_empty, "per_image": per_image}
    both = logits.clone().requires_grad_()
    apart = logits.clone().requires_grad_()
    value = lovasz_hinge(both, target, symmetric=True, **options)
    expected = (lovasz_hinge(apart, target, **options) + lovasz_hinge(-apart, swapped, **options)) / 2
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(both.grad, apart.grad)


def test_an_empty_truth_costs_its_worst_pixel_and_only_that_one_gets_a_gradient():
    logits = torch.tensor([[-3.0, 0.5], [2.0, 1.0]]).view(1, 1, 2, 2).requires_grad_()
    loss = lovasz_hinge(logits, torch.zeros(1, 2, 2))
    loss.backward()
    assert loss.item() == 3.0
    assert logits.grad.flatten().tolist() == [0, 0, 1, 0]


def test_symmetric_spreads_the_gradient_of_an_empty_truth_over_all_wrong_pixels():
    logits = torch.tensor([[-3.0, 0.5], [2.0, 1.0]]).view(1, 1, 2, 2).requires_grad_()
    lovasz_hinge(logits, torch.zeros(1, 2, 2), symmetric=True).backward()
    assert logits.grad.flatten().tolist() == [0, 0.125, 0.625, 0.125]


def test_skip_empty_leaves_empty_images_out_of_the_mean():
    logits, target = _random((4, 1, 6, 6), 13)
    assert (target[0] == 0).all()
    rest = lovasz_hinge(logits[1:], target[1:])
    torch.testing.assert_close(lovasz_hinge(logits, target, skip_empty=True), rest)
    assert lovasz_hinge(logits, target) > 0.5 * rest


def test_a_batch_of_empty_images_that_are_skipped_costs_nothing():
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    loss = lovasz_hinge(logits, torch.zeros(2, 4, 4), skip_empty=True)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


def test_an_image_of_nothing_but_void_does_not_count_in_the_mean():
    logits, target = _random((3, 1, 5, 5), 17)
    target[2] = 255
    torch.testing.assert_close(lovasz_hinge(logits, target), lovasz_hinge(logits[:2], target[:2]))


def test_elu1_keeps_pushing_pixels_that_are_right():
    logits = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    target = torch.ones(1, 2, 2)
    assert lovasz_hinge(logits, target).item() == 0
    loss = lovasz_hinge(logits, target, activation="elu1")
    loss.backward()
    assert loss.item() == pytest.approx(np.exp(-2))
    assert (logits.grad < 0).all()


def test_equal_errors_are_taken_in_the_order_of_the_pixels():
    logits = torch.zeros(1, 1, 1, 4, requires_grad=True)
    lovasz_hinge(logits, torch.tensor([[[0, 1, 0, 1]]])).backward()
    torch.testing.assert_close(logits.grad.flatten(), torch.tensor([1 / 3, -1 / 3, 1 / 12, -1 / 4]))


def test_a_logit_that_is_no_number_shows_in_the_loss():
    logits, target = _random((3, 1, 5, 5), 19)
    for image in range(3):
        broken = logits.clone()
        broken[image, 0, 2, 2] = float("nan")
        assert lovasz_hinge(broken, target).isnan()
        assert lovasz_hinge(broken.double(), target).isnan()


# ----------------------------------------------------------------------------------- Lovász-softmax
def test_classes_present_all_or_a_list():
    probs = torch.softmax(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(2)), dim=1)
    target = torch.zeros(2, 4, 4, dtype=torch.long)
    target[:, 2:] = 1  # class 2 is absent
    one = [lovasz_softmax(probs, target, classes=[number]) for number in range(3)]
    torch.testing.assert_close(lovasz_softmax(probs, target), (one[0] + one[1]) / 2)
    torch.testing.assert_close(lovasz_softmax(probs, target, classes="all"), sum(one) / 3)
    torch.testing.assert_close(lovasz_softmax(probs, target, classes=[2, 0]), (one[0] + one[2]) / 2)
    assert one[2].item() == pytest.approx(probs[:, 2].max().item())


def test_per_image_takes_the_mean_over_the_classes_of_each_image_first():
    probs = torch.softmax(torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(3)), dim=1)
    target = torch.zeros(3, 4, 4, dtype=torch.long)
    target[1, 2:], target[2] = 1, 255
    each = [lovasz_softmax(probs[index : index + 1], target[index : index + 1]) for index in range(2)]
    torch.testing.assert_close(lovasz_softmax(probs, target, per_image=True), sum(each) / 2)


def test_one_logit_channel_is_the_two_class_problem_of_its_sigmoid():
    logits, target = _random((3, 1, 6, 7), 23, void=0.2)
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    for options in ({}, {"per_image": True}, {"classes": [1]}):
        loss = LovaszSoftmaxLoss(**options)
        torch.testing.assert_close(loss(logits, target), loss(two, target))


def test_a_single_channel_of_probabilities_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"1 classes; expected 2 to 255.*torch.cat"):
        lovasz_softmax(torch.rand(1, 1, 2, 2), torch.zeros(1, 2, 2))


def test_a_class_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="expected numbers from 0 to 1 for 2 classes"):
        lovasz_softmax(torch.rand(1, 2, 2, 2), torch.zeros(1, 2, 2), classes=[2])


# ------------------------------------------------------------------------------------------ plumbing
def test_the_module_hands_its_options_on():
    logits, target = _random((4, 1, 6, 6), 29, void=0.2)
    for name, value in {
        "per_image": False,
        "activation": "elu1",
        "symmetric": True,
        "skip_empty": True,
        "ignore_index": 255,
    }.items():
        torch.testing.assert_close(
            LovaszHingeLoss(**{name: value})(logits, target), lovasz_hinge(logits, target, **{name: value})
        )


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation='elu': expected relu or elu1"):
        lovasz_hinge(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), activation="elu")


def test_a_second_derivative_is_refused_not_wrong():
    logits = torch.randn(1, 1, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(lovasz_hinge(logits, torch.ones(1, 4, 4)), logits, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        gradient.sum().backward()


def test_descending_it_from_zero_recovers_a_small_mask():
    target = torch.zeros(1, 10, 10)
    target[0, :2, :2] = 1
    logits = torch.zeros(1, 1, 10, 10, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=20.0)
    for _ in range(60):
        optimizer.zero_grad()
        lovasz_hinge(logits, target).backward()
        optimizer.step()
    assert torch.equal((logits[:, 0] > 0).float(), target)


def test_no_warning_is_raised_on_the_way():
    logits, target = _random((4, 1, 6, 6), 31, void=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for options in ({"symmetric": True}, {"activation": "elu1"}, {"per_image": False}):
            lovasz_hinge((1e4 * logits).requires_grad_(), target, **options).backward()
