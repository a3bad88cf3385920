"""Networks by name, behind their own normalisation, with weights that are really loaded."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from saltern.config import ConfigError, SmpConfig
from saltern.models import build_model, factory, load_encoder_weights

SMALL = {"architecture": "unet", "encoder": "resnet18", "options": {"decoder_channels": [32, 16, 16, 8, 8]}}


@pytest.fixture(scope="module")
def source() -> torch.nn.Module:
    """An encoder whose weights another one shall take."""
    torch.manual_seed(1)
    return build_model(SmpConfig(**SMALL)).encoder


@pytest.mark.parametrize("architecture", ["unet", "fpn", "deeplabv3plus", "segformer"])
def test_logits_have_one_channel_and_the_size_of_the_image(architecture: str) -> None:
    model = build_model(SmpConfig(architecture=architecture, encoder="resnet18")).eval()
    image = torch.randint(0, 256, (2, 3, 2 * model.stride, 4 * model.stride), dtype=torch.uint8)
    with torch.no_grad():
        logits = model(image).logits
    assert logits.shape == (2, 1, 2 * model.stride, 4 * model.stride)


def test_normalisation_is_that_of_the_config() -> None:
    model = build_model(SmpConfig(**SMALL, mean=[0.5, 0.25, 0.0], std=[0.5, 1.0, 2.0]))
    seen: list[torch.Tensor] = []
    model.net.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.full((2, 3, 32, 32), 255, dtype=torch.uint8)
    model(image)
    assert torch.allclose(seen[0][0, :, 0, 0], torch.tensor([1.0, 0.75, 0.5]))


def test_stride_follows_the_depth() -> None:
    options = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    assert build_model(SmpConfig(architecture="unet", encoder="resnet18", options=options)).stride == 8


def test_an_option_that_the_architecture_does_not_take_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decoder_chanels.*'decoder_channels'"):
        build_model(SmpConfig(architecture="unet", encoder="resnet18", options={"decoder_chanels": [1]}))
    with pytest.raises(ConfigError, match="cannot be built"):
        build_model(SmpConfig(architecture="unet", encoder="resnet18", options={"decoder_channels": [8]}))
    with pytest.raises(ConfigError, match="tu-nonsense"):
        build_model(SmpConfig(architecture="unet", encoder="tu-nonsense"))


def test_attention_that_has_no_channels_left_is_named_and_not_blamed_on_sizes() -> None:
    options = {**SMALL["options"], "decoder_attention_type": "scse"}
    with pytest.raises(ConfigError, match=r"no channels left.*decoder_channels 16 or more") as refused:
        build_model(SmpConfig(architecture="unet", encoder="resnet18", options=options))
    assert "no size" not in str(refused.value)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "nested.pth"])
def test_weights_are_loaded_key_by_key(suffix: str, source: torch.nn.Module, tmp_path: Path) -> None:
    file = tmp_path / f"w.{suffix}"
    state = {key: value.clone() for key, value in source.state_dict().items()}
    if suffix == "safetensors":
        save_file(state, file)
    elif suffix == "pth":
        torch.save(state, file)
    else:
        torch.save({"state_dict": {f"module.encoder.{key}": value for key, value in state.items()}, "epoch": 3}, file)
    torch.manual_seed(2)
    model = build_model(SmpConfig(**SMALL, encoder_weights=str(file)))
    assert model.weights_report is not None
    assert model.weights_report.complete
    loaded = model.encoder.state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_weights_of_timm_fit_an_encoder_that_wraps_timm(tmp_path: Path) -> None:
    import timm

    weights = timm.create_model("test_resnet").state_dict()
    save_file({key: value.contiguous() for key, value in weights.items()}, tmp_path / "w.safetensors")
    config = SmpConfig(architecture="unet", encoder="tu-test_resnet", encoder_weights=str(tmp_path / "w.safetensors"))
    report = build_model(config).weights_report
    assert report is not None
    assert report.missing == []
    assert all(key.startswith("model.fc.") for key in report.unexpected)


@pytest.mark.parametrize("option", ["activation", "aux_params"])
def test_options_that_would_change_what_logits_are_are_refused(option: str) -> None:
    for encoder in ("resnet18", "tu-test_resnet"):
        with pytest.raises(ConfigError, match=f"{option}.*logits"):
            build_model(SmpConfig(architecture="unet", encoder=encoder, options={option: "sigmoid"}))


def test_a_partial_fit_is_reported_by_key(source: torch.nn.Module, tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in source.state_dict().items()}
    del state["conv1.weight"]
    state["bn1.weight"] = torch.zeros(3)
    state["fc.weight"] = torch.zeros(3, 3)
    save_file(state, tmp_path / "w.safetensors")
    torch.manual_seed(3)
    target = build_model(SmpConfig(**SMALL)).encoder
    before = target.state_dict()["conv1.weight"].clone()
    report = load_encoder_weights(target, tmp_path / "w.safetensors")
    assert (report.missing, report.unexpected, report.reshaped) == (["conv1.weight"], ["fc.weight"], ["bn1.weight"])
    assert len(report.matched) == len(source.state_dict()) - 2
    assert torch.equal(target.state_dict()["conv1.weight"], before)
    assert "1 missing (conv1.weight)" in str(report)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"blocks.0.weight": torch.zeros(3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"no weight of the file fits.*blocks\.0\.weight.*conv1\.weight"):
        build_model(SmpConfig(**SMALL, encoder_weights=str(tmp_path / "w.safetensors")))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_damaged_and_missing_weights_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        build_model(SmpConfig(**SMALL, encoder_weights=str(tmp_path / name)))
    (tmp_path / name).write_bytes(b"\x80not weights at all" * 9)
    with pytest.raises(ConfigError, match="not readable as weights"):
        build_model(SmpConfig(**SMALL, encoder_weights=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("layer1.0.conv1.weight", torch.nan, r"layer1\.0\.conv1\.weight: 1 of 36864 values are not finite"),
        ("bn1.running_var", -0.5, r"bn1\.running_var: a variance of -0\.5; expected 0 or more"),
    ],
)
def test_values_that_cannot_be_right_are_refused_by_name(
    key: str, value: float, complaint: str, source: torch.nn.Module, tmp_path: Path
) -> None:
    state = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    state[key].view(-1)[5] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=complaint):
        build_model(SmpConfig(**SMALL, encoder_weights=str(tmp_path / "w.safetensors")))


def test_a_file_with_more_than_tensors_is_refused_without_the_advice_to_trust_it(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"more than tensors \(\S+\).*safetensors\.torch\.save_file") as caught:
        build_model(SmpConfig(**SMALL, encoder_weights=str(tmp_path / "w.pth")))
    assert "weights_only" not in str(caught.value)


def test_without_a_network_imagenet_says_what_to_set_instead() -> None:
    config = SmpConfig(**SMALL, encoder_weights="imagenet")
    with pytest.raises(ConfigError, match=r"hub.*set model\.encoder_weights to the path"):
        build_model(config)
    assert build_model(config, pretrained=False).stride == 32


def test_imagenet_asks_the_library_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the hub: what SMP would download is what reaches the network."""
    asked: list[object] = []
    create = factory.smp.create_model

    def hub(architecture: str, **kwargs: object) -> torch.nn.Module:
        asked.append(kwargs.pop("encoder_weights"))
        net = create(architecture, encoder_weights=None, **kwargs)
        if asked[-1]:
            torch.nn.init.constant_(net.encoder.conv1.weight, 0.125)
        return net

    monkeypatch.setattr(factory.smp, "create_model", hub)
    model = build_model(SmpConfig(**SMALL, encoder_weights="imagenet"))
    assert asked == [None, "imagenet"]
    assert bool((model.encoder.conv1.weight == 0.125).all())
