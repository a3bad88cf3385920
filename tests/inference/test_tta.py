"""Every view is undone exactly, and all eight symmetries are there."""

import pytest
import torch

from saltern.config import ConfigError
from saltern.inference.tta import VIEWS, build_views


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
