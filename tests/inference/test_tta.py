"""Every view is undone exactly, and all eight symmetries are there."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from saltern.config import ConfigError, TrainerConfig, compose_config
from saltern.inference.predict import Predictor, Seeing
from saltern.inference.tta import VIEWS, build_views
from saltern.models import Outputs
from saltern.runtime import start


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_undo_gives_back_the_image(name: str) -> None:
    image = torch.rand(2, 3, 4, 6)
    view = VIEWS[name]
    assert torch.equal(view.undo(view.apply(image)), image)


def test_the_eight_views_are_eight_different_symmetries() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert len({tuple(view.apply(image).flatten().tolist()) for view in VIEWS.values()}) == 8


def test_hand_values() -> None:
    image = torch.tensor([[1, 2], [3, 4]])
    seen = {name: VIEWS[name].apply(image).tolist() for name in ("hflip", "vflip", "rot90", "transpose")}
    assert seen == {
        "hflip": [[2, 1], [4, 3]],
        "vflip": [[3, 4], [1, 2]],
        "rot90": [[2, 4], [1, 3]],
        "transpose": [[1, 3], [2, 4]],
    }


def test_an_unknown_view_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"'hflp'.*'hflip'"):
        build_views(["identity", "hflp"])


@pytest.mark.parametrize("name", sorted(VIEWS))
@pytest.mark.parametrize(("scale", "seen"), [(0.75, (48, 80)), (1.25, (80, 128)), (0.25, (16, 32))])
def test_a_scaled_view_is_seen_at_multiples_of_the_stride_and_comes_back_at_its_size(
    name: str, scale: float, seen: tuple[int, int]
) -> None:
    """64 x 100 at stride 16: 3 and 4.69, 5 and 7.81, 1 and 1.56 multiples."""
    (view,) = build_views([f"{name}@{scale}"])
    view, expected = view.at((64, 100), 16), seen
    shown = view.apply(torch.full((2, 3, 64, 100), 200, dtype=torch.uint8))
    turned = VIEWS[name].apply(torch.zeros(expected)).shape
    assert shown.shape == (2, 3, *turned)
    assert shown.dtype == torch.uint8
    assert (shown == 200).all(), "an even picture stays even"
    back = view.undo(torch.full((2, 1, *turned), 0.25))
    assert back.shape == (2, 1, 64, 100)
    assert torch.allclose(back, torch.tensor(0.25))


def test_a_scaled_view_resizes_as_opencv_does() -> None:
    """Bilinear, pixel centres at half: where it grows, cv2.INTER_LINEAR is the same formula."""
    image = np.random.default_rng(0).integers(0, 256, (32, 64), np.uint8)
    (view,) = build_views(["hflip@1.5"])
    shown = view.at((32, 64), 16).apply(torch.from_numpy(image)[None, None].expand(1, 3, -1, -1))
    expected = cv2.resize(image.astype(np.float32), (96, 48), interpolation=cv2.INTER_LINEAR)[:, ::-1]
    assert np.abs(shown[0, 0].numpy() - expected).max() <= 0.51


def test_a_scaled_view_puts_things_back_where_they_were() -> None:
    """A smooth hill, seen at another scale and turned, is where it was, up to what resizing blurs."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    hill = torch.exp(-(((y - 20) / 12) ** 2 + ((x - 70) / 15) ** 2))
    images = (hill * 255).round().to(torch.uint8).expand(1, 3, 64, 96)
    for name in VIEWS:
        for scale in (0.75, 1.25):
            (view,) = build_views([f"{name}@{scale}"])
            view = view.at((64, 96), 32)
            back = view.undo(view.apply(images)[:, :1].float() / 255)
            assert (back[0, 0] - hill).abs().max() < 0.02, (name, scale)


@pytest.mark.parametrize(
    "text", ["hflip@", "hflip@x", "hflip@1", "hflip@1.0", "hflip@0", "hflip@9", "hflip@nan", "flip@2"]
)
def test_a_scale_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"inference.views: "):
        compose_config("run", [f"inference.views=[identity,{text}]"])


def test_a_scaled_view_changes_a_prediction_by_the_mean_of_what_it_sees() -> None:
    class Brightness(nn.Module):
        def forward(self, images: torch.Tensor) -> Outputs:
            return Outputs(images[:, :1].float() / 255)

    views = ["identity", "vflip@0.5"]
    images = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    predictor = Predictor(start(TrainerConfig(accelerator="cpu", precision="fp32")), [Brightness()],
                          Seeing(build_views(views), stride=16))  # fmt: skip
    small = interpolate(images.float().flip(-2), (16, 32), mode="bilinear", antialias=True).round()[:, :1] / 255
    there = interpolate(small.sigmoid().flip(-2), (32, 64), mode="bilinear")
    expected = ((images[:, :1].float() / 255).sigmoid() + there) / 2
    assert torch.allclose(predictor(images).probs, expected, atol=0.003)
