import itertools

import pytest
import torch

from saltern.config import FolderConfig
from saltern.data.loading.evaluation import seen_sizes
from saltern.data.loading.windows import Blend, plan_windows


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (480, 352), (416, 640)])
@pytest.mark.parametrize("window", [1, 64, 224, 500])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_windows_are_multiples_of_the_stride_cover_all_and_overlap(
    size: tuple[int, int], window: int, overlap: float
) -> None:
    covered = torch.zeros(size)
    windows = plan_windows(size, window, 32, overlap)
    for item in windows:
        assert item.height % 32 == item.width % 32 == 0
        assert item.height <= max(window, 32)
        assert item.of(covered).shape == (item.height, item.width)  # inside the image
        item.of(covered).add_(1)
    assert covered.min() >= 1
    for first, second in itertools.pairwise(windows):
        if first.top == second.top:
            assert first.left + first.width - second.left >= int(overlap * first.width)


def test_an_image_below_the_limit_is_one_window_and_comes_back_exactly() -> None:
    (window,) = plan_windows((64, 96), 96, 32)
    blend, probs = Blend(2, (64, 96)), torch.rand(2, 1, 64, 96)
    blend.add(window.of(probs), window)
    torch.testing.assert_close(blend.result(), probs)


def test_windows_that_agree_blend_to_what_they_say() -> None:
    probs, blend = torch.rand(1, 1, 128, 160), Blend(1, (128, 160))
    for window in plan_windows((128, 160), 64, 32):
        blend.add(window.of(probs), window)
    torch.testing.assert_close(blend.result(), probs)


def test_between_two_windows_that_differ_the_change_is_gradual() -> None:
    blend = Blend(1, (32, 96))
    left, right = plan_windows((32, 96), 64, 32, overlap=0.5)
    blend.add(torch.zeros(1, 1, 32, 64), left)
    blend.add(torch.ones(1, 1, 32, 64), right)
    line = blend.result()[0, 0, 16]
    assert line[0] == 0
    assert line[-1] == 1
    assert (line.diff() >= 0).all()
    assert line.diff().max() < 0.05


def test_a_pixel_outside_every_window_is_no_number() -> None:
    """Where the probabilities are stored or scored, NaN is refused."""
    blend = Blend(1, (32, 96))
    blend.add(torch.zeros(1, 1, 32, 64), plan_windows((32, 96), 64, 32)[0])
    assert blend.result().isnan().any()


@pytest.mark.parametrize(
    ("window", "seen"),
    [
        (None, {(32, 64), (96, 128), (320, 64)}),
        (128, {(32, 64), (96, 128), (128, 64)}),
        (100, {(32, 64), (96, 96), (96, 64)}),  # three strides
        (10, {(32, 32)}),
    ],
)
def test_the_sizes_that_a_network_sees_are_those_of_padded_images_and_their_windows(
    window: int | None, seen: set[tuple[int, int]]
) -> None:
    class Source:
        native = ((20, 40), (20, 64), (70, 120), (300, 64))

    assert seen_sizes(Source(), FolderConfig(root="x", window=window), 32) == seen  # type: ignore[arg-type]
