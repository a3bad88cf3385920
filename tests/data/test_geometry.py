import numpy as np
import pytest
import torch

from saltern.config import DatasetConfig
from saltern.data.loading.geometry import fit_image, fit_mask, plan_fit, scale_mask, unfit_probs


def config(**changes: object) -> DatasetConfig:
    return DatasetConfig(**{"layout": "tgs", "root": "."} | changes)


def test_the_tgs_tile_is_padded_by_13_and_14() -> None:
    fit = plan_fit((101, 101), 32, config())
    assert (fit.top, fit.bottom, fit.left, fit.right) == (13, 14, 13, 14)
    assert fit.padded == (128, 128)


@pytest.mark.parametrize("pad", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("stride", [1, 2, 16, 32])
def test_truth_goes_through_and_back_unchanged_at_every_size(pad: str, stride: int) -> None:
    random = np.random.default_rng(0)
    for height in [*range(1, 40), 64, 101]:
        for width in (1, 2, 3, 31, 32, 33, height):
            mask = random.integers(0, 2, (height, width), dtype=np.uint8)
            mask[random.random((height, width)) < 0.1] = 255
            fit = plan_fit((height, width), stride, config(pad=pad))
            fitted = fit_mask(mask, fit)
            assert fitted.shape == fit.padded
            assert fitted.shape[0] % stride == fitted.shape[1] % stride == 0
            back = unfit_probs(torch.from_numpy(fitted).float(), fit)
            np.testing.assert_array_equal(back.numpy(), mask)


@pytest.mark.parametrize(("pad", "mode"), [("reflect", "reflect"), ("edge", "edge"), ("constant", "constant")])
def test_padding_is_numpys_even_where_it_exceeds_the_side(pad: str, mode: str) -> None:
    random = np.random.default_rng(1)
    for side in (1, 2, 3, 5, 20):
        image = random.integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
        mask = random.integers(0, 2, (side, side + 1), dtype=np.uint8)
        fit = plan_fit((side, side + 1), 64, config(pad=pad))
        pads = ((fit.top, fit.bottom), (fit.left, fit.right))
        np.testing.assert_array_equal(fit_image(image, fit), np.pad(image, (*pads, (0, 0)), mode=mode))
        void = {"constant_values": 255} if pad == "constant" else {}
        np.testing.assert_array_equal(fit_mask(mask, fit), np.pad(mask, pads, mode=mode, **void))


def test_probabilities_are_resized_back_smoothly() -> None:
    fit = plan_fit((50, 30), 32, config(resize=[100, 60]))
    assert fit.padded == (128, 64)
    plane = torch.linspace(0, 1, 100)[:, None].expand(100, 60)
    padded = torch.full(fit.padded, 9.0)  # what lies in the padding must not leak in
    padded[fit.top : fit.top + 100, fit.left : fit.left + 60] = plane
    back = unfit_probs(padded, fit)
    assert back.shape == (50, 30)
    expected = (plane[0::2] + plane[1::2])[:, ::2] / 2  # bilinear at exactly half the size averages pairs
    torch.testing.assert_close(back, expected)


def test_leading_dimensions_are_kept() -> None:
    fit = plan_fit((33, 40), 32, config(long_side=20))
    assert fit.scaled == (16, 20)
    probs = torch.rand(2, 3, *fit.padded)
    back = unfit_probs(probs, fit)
    assert back.shape == (2, 3, 33, 40)
    torch.testing.assert_close(back[1, 2], unfit_probs(probs[1, 2], fit))


def test_long_side_only_shrinks() -> None:
    assert plan_fit((100, 50), 1, config(long_side=200)).scaled == (100, 50)
    assert plan_fit((400, 3), 1, config(long_side=100)).scaled == (100, 1)


def test_a_doubled_mask_comes_back_and_no_new_values_appear() -> None:
    random = np.random.default_rng(2)
    mask = random.choice(np.array([0, 1, 255], np.uint8), (31, 17))
    doubled = scale_mask(mask, (62, 34))
    np.testing.assert_array_equal(doubled, mask.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(scale_mask(doubled, (31, 17)), mask)
    assert set(np.unique(scale_mask(mask, (23, 40)))) <= {0, 1, 255}
