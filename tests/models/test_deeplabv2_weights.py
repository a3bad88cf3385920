"""Weights of torchvision's ResNets in DeepLab v2: from a file, key by key, and from a stand-in for the hub."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

from saltern.config import ConfigError, DeepLabV2Config
from saltern.models import build_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file as torchvision publishes them, of a network of its own with random weights."""
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(torchvision.models.resnet50().state_dict(), file)
    yield file
    file.unlink()


def test_a_file_of_torchvision_is_matched_key_by_key(weights: Path) -> None:
    """Of its 320 tensors the classifier's two are left over."""
    for freeze in (False, True):
        config = DeepLabV2Config(encoder="resnet50", encoder_weights=str(weights), freeze_batchnorm=freeze)
        model = build_model(config)
        report = model.weights_report
        assert report is not None
        assert (report.missing, report.unexpected, report.reshaped) == ([], ["fc.weight", "fc.bias"], [])
        assert len(report.matched) == 318
        loaded, saved = model.encoder.state_dict(), torch.load(weights)
        assert all(torch.equal(loaded[key], saved[key]) for key in report.matched)


def test_weights_of_the_other_depth_are_reported(weights: Path) -> None:
    report = build_model(DeepLabV2Config(encoder="resnet101", encoder_weights=str(weights))).weights_report
    assert report is not None
    assert len(report.matched) == 318
    assert {key.split(".")[0] for key in report.missing} == {"layer3"}
    assert len(report.missing) == (23 - 6) * 15


def test_without_a_network_imagenet_says_what_to_set_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ssl.SSLError("no route")

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", offline)
    config = DeepLabV2Config(encoder="resnet50", encoder_weights="imagenet")
    with pytest.raises(
        ConfigError, match=r"weights of resnet50.*hub.*no route.*set model\.encoder_weights to the path"
    ):
        build_model(config)
    assert build_model(config, pretrained=False).weights_report is None


def test_imagenet_asks_torchvision_for_its_first_weights(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def hub(enum: object, *_: object, **__: object) -> dict[str, Tensor]:
        asked.append(enum)
        state: dict[str, Tensor] = torch.load(weights)
        return state

    monkeypatch.setattr(torchvision.models.ResNet50_Weights, "get_state_dict", hub)
    model = build_model(DeepLabV2Config(encoder="resnet50", encoder_weights="imagenet", freeze_batchnorm=True))
    assert asked == [torchvision.models.ResNet50_Weights.IMAGENET1K_V1]
    assert torch.equal(
        model.encoder.state_dict()["layer4.2.conv3.weight"], torch.load(weights)["layer4.2.conv3.weight"]
    )
