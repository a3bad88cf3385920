from itertools import product

import pytest
import torch

from saltern.losses.lovasz_kernel import _compact, _dense, lovasz

OPTIONS = [
    {"background_margin": margin, "groups": groups, "elu": elu, "symmetric": symmetric, "skip_empty": skip}
    for margin, groups, elu, symmetric, skip in product([1.0, 0.0], [1, 3, 6], *[[False, True]] * 3)
]


def _rows(pixels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Six segments: mixed, empty, full, void only, mixed and nearly right, mixed with void."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(6, pixels, generator=generator)
    labels = (torch.rand(6, pixels, generator=generator) > 0.7).to(torch.uint8)
    labels[1], labels[2], labels[3] = 0, 1, 255
    scores[4] = torch.where(labels[4] == 1, 2 + scores[4], -2 - scores[4])
    labels[5, ::3] = 255
    return scores, labels


@pytest.mark.parametrize("options", OPTIONS)
def test_sorting_only_what_counts_agrees_with_sorting_everything_in_double(options):
    scores, labels = _rows(701)
    value, gradient = _compact(scores, labels, **options)
    expected, slope = _dense(scores.double(), labels, **options)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_flat_sort_of_packed_integers_agrees_with_a_sort_by_rows(options):
    """What a GPU runs, on the CPU."""
    scores, labels = _rows(333)
    value, gradient = _dense(scores, labels, **options)
    expected, slope = _dense(scores.double(), labels, **options)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-9)


def test_all_ways_order_equal_errors_alike():
    scores = torch.randint(-2, 3, (6, 400), generator=torch.Generator().manual_seed(1)).float()
    labels = _rows(400)[1]
    ways = [_compact(scores, labels, 1.0, 6, False, False, False)[1]]
    ways += [_dense(each, labels, 1.0, 6, False, False, False)[1].float() for each in (scores, scores.double())]
    torch.testing.assert_close(ways[0], ways[1])
    torch.testing.assert_close(ways[0], ways[2])


@pytest.mark.parametrize("share", [0.01, 0.5, 0.74, 0.76, 1.0])
def test_few_or_many_active_pixels_make_no_difference(share):
    """Below three quarters of active pixels only those are sorted, above all are."""
    scores, labels = torch.full((1, 1000), -4.0), torch.zeros(1, 1000, dtype=torch.uint8)
    labels[0, :400:2] = 1
    scores[labels == 1] = 4.0
    wrong = torch.randperm(1000, generator=torch.Generator().manual_seed(2))[: int(1000 * share)]
    scores[0, wrong] *= -torch.rand(len(wrong), generator=torch.Generator().manual_seed(3))
    value, gradient = _compact(scores, labels, 1.0, 1, False, False, False)
    expected, slope = _dense(scores.double(), labels, 1.0, 1, False, False, False)
    assert (gradient != 0).sum() == len(wrong)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-9)


def test_weights_of_a_megapixel_keep_single_precision():
    """Counts in float32 are exact only to 2^24 and differences of near-equal ratios lose digits: neither is used."""
    scores = torch.randn(1, 1 << 20, generator=torch.Generator().manual_seed(4))
    labels = (torch.rand(scores.shape, generator=torch.Generator().manual_seed(5)) > 0.5).to(torch.uint8)
    value, gradient = _compact(scores, labels, 1.0, 1, False, False, False)
    expected, slope = _dense(scores.double(), labels, 1.0, 1, False, False, False)
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    equal_errors_apart = (gradient.double() - slope).abs() > 1e-5 * slope.abs()
    assert equal_errors_apart.double().mean() < 0.05


def test_the_operator_is_registered_rightly():
    scores, labels = _rows(37)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(lovasz, (scores.requires_grad_(), labels, 1.0, 6, False, True, False), test_utils=checks)
