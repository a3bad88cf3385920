"""What holds for every loss: DESIGN's numeric contract, gradients, the configured table."""

import inspect
from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import CASES, random_batch
from torch import nn

from saltern.config import LOSS_PARAMS
from saltern.errors import DataError
from saltern.losses import LOSSES, Region

pytestmark = pytest.mark.filterwarnings("error")
every_loss = pytest.mark.parametrize("loss", CASES.values(), ids=CASES.keys())
BOUNDED = [name for name in CASES if name.startswith(("dice", "jaccard", "tversky", "focal_tversky", "lovasz_softmax"))]


def _value_and_gradient(
    loss: nn.Module, logits: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def test_the_cases_cover_every_loss_that_can_be_named():
    assert {type(loss) for loss in CASES.values()} == set(LOSSES.values())


def test_the_configured_table_has_the_names_and_defaults_of_the_modules():
    assert LOSSES.keys() == LOSS_PARAMS.keys()
    region = {field.name: field.default for field in fields(Region)}
    for name, loss in LOSSES.items():
        defaults: dict[str, object] = {}
        for parameter in list(inspect.signature(loss.__init__).parameters.values())[1:]:
            by_name = parameter.kind is inspect.Parameter.VAR_KEYWORD
            defaults |= region if by_name else {parameter.name: parameter.default}
        assert defaults.pop("ignore_index") == 255
        assert defaults == LOSS_PARAMS[name], name


@every_loss
def test_the_gradient_is_that_of_finite_differences(loss):
    logits, target = random_batch((4, 1, 3, 4))
    assert torch.autograd.gradcheck(lambda scores: loss(scores, target), logits.double().requires_grad_())


@every_loss
def test_it_pushes_wrong_pixels_the_right_way(loss):
    logits, target = random_batch()
    value, gradient = _value_and_gradient(loss, logits, target)
    assert value.shape == ()
    assert value > 0
    wrong = (logits[:, 0] > 0) != (target == 1)
    pushed = (gradient != 0)[:, 0] & wrong
    assert pushed.any()
    expected = torch.where(target == 1, -1.0, 1.0)
    assert torch.equal(gradient[:, 0].sign()[pushed], expected[pushed])


@every_loss
def test_double_and_single_precision_agree(loss):
    logits, target = random_batch((4, 1, 20, 20))
    value, gradient = _value_and_gradient(loss, logits, target)
    exact, slope = _value_and_gradient(loss, logits.double(), target)
    assert (value.dtype, exact.dtype) == (torch.float32, torch.float64)
    assert value.item() == pytest.approx(exact.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-4, atol=1e-7)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_and_from_half_logits_it_computes_in_single_precision(loss, dtype):
    logits, target = random_batch()
    half = logits.to(dtype)
    expected, slope = _value_and_gradient(loss, half.float(), target)
    with torch.autocast("cpu", dtype=dtype):
        value, gradient = _value_and_gradient(loss, half, target)
        single, _ = _value_and_gradient(loss, half.float(), target)
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    assert torch.equal(single, expected)
    torch.testing.assert_close(gradient, slope.to(dtype))


@every_loss
def test_void_pixels_neither_cost_nor_move(loss):
    logits, target = random_batch()
    value, gradient = _value_and_gradient(loss, logits, target)
    void = (target == 255)[:, None]
    other = torch.where(void, 50 * torch.randn(logits.shape), logits)
    assert torch.equal(_value_and_gradient(loss, other, target)[0], value)
    assert (gradient[void] == 0).all()


@every_loss
def test_an_image_cut_to_its_valid_rows_costs_the_same(loss):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(1, 1, 8, 5, generator=generator)
    target = torch.randint(0, 2, (1, 8, 5), generator=generator)
    target[0, 5:] = 255
    torch.testing.assert_close(loss(logits, target), loss(logits[:, :, :5].contiguous(), target[:, :5].contiguous()))


@every_loss
def test_nothing_but_void_costs_nothing_and_moves_nothing(loss):
    logits, target = random_batch()
    value, gradient = _value_and_gradient(loss, 1e4 * logits, torch.full_like(target, 255))
    assert value == 0
    assert (gradient == 0).all()


@every_loss
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_logits_stay_finite(loss, scale):
    _, target = random_batch()
    logits = scale * (2.0 * (target == 1) - 1)[:, None]
    value, gradient = _value_and_gradient(loss, logits, target)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
def test_any_dtype_and_shape_of_target_means_the_same(loss):
    logits, target = random_batch()
    expected = loss(logits, target)
    for dtype in (torch.int32, torch.int64, torch.float32, torch.float64, torch.bfloat16):
        assert torch.equal(loss(logits, target.to(dtype)), expected)
        assert torch.equal(loss(logits, target.to(dtype)[:, None]), expected)
    valid = torch.where(target == 255, 0, target)
    assert torch.equal(loss(logits, valid.bool()), loss(logits, valid))


@every_loss
def test_any_memory_layout_means_the_same(loss):
    logits, target = random_batch((4, 1, 6, 8))
    expected, slope = _value_and_gradient(loss, logits, target)
    wide = torch.zeros(4, 3, 12, 16)
    wide[:, 1:2, ::2, ::2] = logits
    turned = target.transpose(1, 2).contiguous().transpose(1, 2)
    for other in (
        logits.contiguous(memory_format=torch.channels_last),
        wide[:, 1:2, ::2, ::2],
        logits.mT.contiguous().mT,
    ):
        assert torch.equal(other, logits)
        value, gradient = _value_and_gradient(loss, other, turned)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient, slope)


@every_loss
def test_inputs_are_left_as_they_were(loss):
    logits, target = random_batch()
    kept = logits.clone(), target.clone()
    loss(logits.requires_grad_(), target).backward()
    assert torch.equal(logits, kept[0])
    assert torch.equal(target, kept[1])


@every_loss
def test_a_wrong_target_is_refused(loss):
    logits, target = random_batch()
    with pytest.raises(DataError, match="target: holds 2; expected only 0, 1 and 255"):
        loss(logits, target + 2 * (target == 0))
    with pytest.raises(ValueError, match="does not fit logits"):
        loss(logits, target[:, 1:])
    with pytest.raises(ValueError, match="expected \\(B, C, H, W\\)"):
        loss(logits[:, 0], target)


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("lovasz_softmax")])
def test_several_channels_are_refused(name):
    with pytest.raises(ValueError, match=r"has 2 channels; expected \(B, 1, H, W\)"):
        CASES[name](torch.zeros(2, 2, 4, 4), torch.zeros(2, 4, 4))


@pytest.mark.parametrize("name", [*LOSSES, "lovasz_hinge, all"])
def test_it_traces_into_one_graph_under_compile(name):
    loss = CASES[name]
    logits, target = random_batch()
    torch._dynamo.reset()
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    expected, slope = _value_and_gradient(loss, logits, target)
    value, gradient = _value_and_gradient(compiled, logits, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, slope)


# -------------------------------------------------------------------------------- drawn at random
@st.composite
def images(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor]:
    """One image of up to 5 × 5 pixels with logits from -6 to 6, and a target with a valid pixel."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    count = height * width
    logits = draw(st.lists(st.floats(-6, 6, width=32), min_size=count, max_size=count))
    labels = draw(st.lists(st.sampled_from([0, 1, 1, 0, 255]), min_size=count, max_size=count))
    if set(labels) == {255}:
        labels[0] = 1
    return torch.tensor(logits).view(1, 1, height, width), torch.tensor(labels).view(1, height, width)


@every_loss
@given(image=images())
@settings(max_examples=15, deadline=None)
def test_no_image_has_a_negative_loss(loss, image):
    assert loss(*image) >= 0


@pytest.mark.parametrize("name", BOUNDED)
@given(image=images())
@settings(max_examples=15, deadline=None)
def test_no_image_costs_more_than_one(name, image):
    assert CASES[name](*image) <= 1 + 1e-6


@every_loss
@given(image=images(), seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_where_the_pixels_lie_does_not_matter(loss, image, seed):
    logits, target = image
    order = torch.randperm(target.numel(), generator=torch.Generator().manual_seed(seed))
    moved = logits.flatten()[order].view(logits.shape), target.flatten()[order].view(target.shape)
    torch.testing.assert_close(loss(*moved), loss(*image), rtol=1e-5, atol=1e-6)


@every_loss
@given(image=images())
@settings(max_examples=15, deadline=None)
def test_a_certain_and_right_prediction_costs_nothing(loss, image):
    target = image[1]
    if getattr(loss, "label_smoothing", 0):
        return  # asks for doubt: its least loss is that of the smoothed labels
    logits = (60.0 * (2.0 * (target == 1) - 1))[:, None]
    assert loss(logits, target).item() == pytest.approx(0, abs=1e-6)


@every_loss
@given(image=images(), step=st.floats(0.01, 3), data=st.data())
@settings(max_examples=15, deadline=None)
def test_more_confidence_in_a_wrong_pixel_never_costs_less(loss, image, step, data):
    logits, target = image
    valid = (target.flatten() != 255).nonzero().flatten().tolist()
    pixel = data.draw(st.sampled_from(valid))
    wrong = 1 - 2 * target.flatten()[pixel]
    logits = logits.clone()
    logits.view(-1)[pixel] = wrong * logits.view(-1)[pixel].abs()
    worse = logits.clone()
    worse.view(-1)[pixel] += wrong * step
    assert loss(worse, target) >= loss(logits, target) - 1e-5
