"""timm's encoders in SMP's networks: their own weight files, the sizes of image they take, the groups under configs."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from saltern.config import ConfigError, SmpConfig, TrainerConfig, compose_config
from saltern.engine.soundness import freeze_idle
from saltern.job import Job
from saltern.models import SegmentationNet, build_model, factory, load_encoder_weights
from saltern.models.fitting import fit_names
from saltern.models.sizes import Sizes, find_sizes
from saltern.pipeline import train
from saltern.runtime import start

ROOT = Path(__file__).parents[2]
SMALL_DPT = {"decoder_intermediate_channels": [8, 8, 8, 8], "decoder_fusion_channels": 8}
GROUPS = {
    "unet_convnext_tiny": "convnext_tiny.in12k_ft_in1k",
    "unet_maxvit_tiny": "maxvit_tiny_tf_224.in1k",
    "unet_efficientnetv2_s": "tf_efficientnetv2_s.in21k_ft_in1k",
    "dpt_dinov2_small": "vit_small_patch14_dinov2.lvd142m",
    "dpt_dinov3_small": "vit_small_patch16_dinov3.lvd1689m",
}


def config(architecture: str, encoder: str, **more: Any) -> SmpConfig:
    options = {**(SMALL_DPT if architecture == "dpt" else {}), **more.pop("options", {})}
    return SmpConfig(architecture=architecture, encoder=f"tu-{encoder}", options=options, **more)


def whole(name: str, file: Path, **options: Any) -> nn.Module:
    """A network of timm with other weights than zeros and ones, saved as timm saves it."""
    torch.manual_seed(1)
    network: nn.Module = timm.create_model(name, **options).eval()
    for tensor in (*network.parameters(), *(buffer for buffer in network.buffers() if buffer.is_floating_point())):
        nn.init.uniform_(tensor, 0.01, 0.1)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file)
    return network


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        ("unet", "test_convnext"),
        ("unet", "test_efficientnet"),
        ("unet", "test_resnet"),
        ("fpn", "test_maxvit"),
        ("dpt", "test_vit"),
        ("dpt", "test_vit2"),
    ],
)
def test_an_encoder_with_timms_own_weights_gives_the_features_of_timms_network(
    architecture: str, encoder: str, tmp_path: Path
) -> None:
    network: Any = whole(encoder, tmp_path / "w.safetensors")
    model = build_model(config(architecture, encoder, encoder_weights=str(tmp_path / "w.safetensors")))
    report = model.weights_report
    assert report is not None
    assert (report.missing, report.reshaped, report.resampled) == ([], [], [])
    assert set(report.matched) >= {name for name, _ in model.encoder.named_parameters()}
    assert all(
        any(part in key for part in ("head", ".fc.", "classifier", "bn2", "model.norm.")) for key in report.unexpected
    )
    image = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        expected = network.forward_intermediates(image, intermediates_only=True)[-1]
        features = model.encoder.eval()(image)
    deepest = features[0][-1] if architecture == "dpt" else features[-1]
    assert torch.equal(deepest, expected)


def test_names_that_two_keys_would_share_are_left_as_they_are() -> None:
    def fitted(*keys: str) -> list[str]:
        found = {key: torch.full((1,), number) for number, key in enumerate(keys)}
        return list(fit_names(found, {"stages_0.w", "stages_1.w", "head.a_b"}))

    assert fitted("stages.0.w", "stages.1.w") == ["stages_0.w", "stages_1.w"]
    assert fitted("stages_0.w", "stages.0.w") == ["stages_0.w", "stages.0.w"], "the very name comes first"
    assert fitted("stages.0.w", "stages.0_w", "stages.1.w") == ["stages.0.w", "stages.0_w", "stages_1.w"]
    both = {"a.b_c": torch.zeros(1)}
    assert list(fit_names(both, {"a.b.c", "a_b_c"})) == ["a.b_c"]


def test_position_embeddings_come_to_another_grid_and_the_report_says_so(tmp_path: Path) -> None:
    network: Any = whole("test_vit", tmp_path / "w.safetensors", img_size=160)
    with torch.no_grad():
        network.pos_embed.normal_()
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, tmp_path / "w.safetensors")
    settings = config("dpt", "test_vit", options={"img_size": 96}, encoder_weights=str(tmp_path / "w.safetensors"))
    model = build_model(settings)
    report = model.weights_report
    assert report is not None
    assert (report.resampled, report.reshaped, report.missing) == (["model.pos_embed"], [], [])
    assert "resampled to this grid of patches: model.pos_embed" in str(report)
    loaded = model.encoder.get_parameter("model.pos_embed").detach()
    assert torch.equal(loaded[:, 0], network.pos_embed[:, 0]), "the class token has no place on the grid"
    grid = network.pos_embed[:, 1:].detach().reshape(1, 10, 10, 64).permute(0, 3, 1, 2)
    smaller = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    assert torch.allclose(loaded[:, 1:], smaller.flatten(2).transpose(1, 2))


def test_position_embeddings_of_no_square_grid_are_reported_as_reshaped(tmp_path: Path) -> None:
    network = whole("test_vit", tmp_path / "w.safetensors")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file({**state, "pos_embed": torch.zeros(1, 100, 64)}, tmp_path / "w.safetensors")
    report = load_encoder_weights(timm.create_model("test_vit"), tmp_path / "w.safetensors")
    assert (report.reshaped, report.resampled) == (["pos_embed"], [])
    save_file({**state, "pos_embed": torch.full((1, 37, 64), torch.nan)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="pos_embed: 2368 of 2368 values are not finite"):
        load_encoder_weights(timm.create_model("test_vit"), tmp_path / "w.safetensors")


def test_patches_of_another_size_see_in_an_enlarged_image_what_they_saw(tmp_path: Path) -> None:
    """The definition of FlexiViT's resampling: the larger kernel gives on the enlarged patch what the smaller gave."""
    network: Any = whole("test_vit", tmp_path / "w.safetensors", patch_size=8, img_size=80)
    larger: Any = timm.create_model("test_vit", patch_size=16, img_size=160)
    report = load_encoder_weights(larger, tmp_path / "w.safetensors")
    assert (report.resampled, report.missing) == (["patch_embed.proj.weight"], [])
    patch = torch.rand(4, 3, 8, 8)
    enlarged = torch.nn.functional.interpolate(patch, size=(16, 16), mode="bicubic", antialias=True)
    with torch.no_grad():
        assert torch.allclose(larger.patch_embed.proj(enlarged), network.patch_embed.proj(patch), atol=1e-4)


def test_imagenet_asks_timm_for_the_weights_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the hub: SMP takes True, not a name, for timm's encoders."""
    asked: list[object] = []
    create = factory.smp.create_model

    def hub(architecture: str, **kwargs: object) -> nn.Module:
        asked.append(kwargs.pop("encoder_weights"))
        net: nn.Module = create(architecture, encoder_weights=None, **kwargs)
        if asked[-1]:
            nn.init.constant_(net.get_parameter("encoder.model.stem_0.weight"), 0.125)
        return net

    monkeypatch.setattr(factory.smp, "create_model", hub)
    model = build_model(config("unet", "test_convnext", encoder_weights="imagenet"))
    assert asked == [None, True]
    assert bool((model.encoder.get_parameter("model.stem_0.weight") == 0.125).all())


def takes(model: SegmentationNet, size: tuple[int, int]) -> bool:
    """Whether images of `size` really pass."""
    try:
        with torch.no_grad():
            return model.eval().net(torch.zeros(1, 3, *size)).shape[2:] == size
    except (RuntimeError, AssertionError):
        return False


@pytest.mark.parametrize(
    ("architecture", "encoder", "stride", "others"),
    [
        ("fpn", "test_maxvit", 160, [(32, 32), (160, 128), (160, 192)]),  # windows of 5, at a stride of 32
        ("dpt", "test_vit", 32, [(48, 64), (64, 80)]),  # patches of 16, which the decoder halves once
        ("fpn", "test_resnet", 32, [(16, 32), (48, 64)]),
    ],
)
def test_the_stride_is_the_multiple_that_really_passes(
    architecture: str, encoder: str, stride: int, others: list[tuple[int, int]]
) -> None:
    model = build_model(config(architecture, encoder))
    assert model.sizes == Sizes(stride)
    for size in [(stride, stride), (stride, 2 * stride), (3 * stride, 2 * stride)]:
        assert takes(model, size), size
    for size in others:
        assert not takes(model, size), size


def test_the_first_multiple_is_found_whatever_divides_the_sides() -> None:
    class Windows(nn.Module):
        def __init__(self, window: int) -> None:
            super().__init__()
            self.window = window

        def forward(self, image: Tensor) -> Tensor:
            assert all(side % self.window == 0 for side in image.shape[2:]), "windows"
            return image[:, :1]

    for window, stride in ((1, 4), (7, 28), (8, 8), (9, 36), (72, 72), (11, 44), (6, 12)):
        assert find_sizes(Windows(window), 4) == Sizes(stride), window
    with pytest.raises(ConfigError, match=r"no size of image was found that this network takes \(windows\)"):
        find_sizes(Windows(10_007), 4)


def test_a_network_of_one_size_names_it_and_the_setting() -> None:
    model = build_model(config("dpt", "test_vit3")).eval()
    assert model.sizes == Sizes(160, (160, 160))
    assert takes(model, (160, 160))
    assert not takes(model, (320, 320))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 160, 160, dtype=torch.uint8)).logits.shape == (1, 1, 160, 160)
        with pytest.raises(ConfigError, match=r"160 x 160 alone.*160 x 320.*dataset\.resize=\[160,160\].*train_crop"):
            model(torch.zeros(1, 3, 160, 320, dtype=torch.uint8))
    other = build_model(config("dpt", "test_vit3", options={"img_size": [128, 192]}))
    assert other.sizes == Sizes(64, (128, 192))


def test_what_needs_values_to_run_is_padded_as_its_encoder_says_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Looks(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image[:, :1] * image.max().item()

    assert find_sizes(Looks(), 4) == Sizes(4)
    assert "cannot be asked of it" in caplog.text


def test_a_size_that_cannot_be_trained_on_ends_with_what_to_do() -> None:
    runtime = start(TrainerConfig(accelerator="cpu", precision="fp32"))
    model = build_model(SmpConfig(architecture="pan", encoder="resnet18"))
    said = r"pan with encoder resnet18 cannot be trained on images of 64 x 64 \(.*\).*dataset\.resize=\[128,128\]"
    with pytest.raises(ConfigError, match=said):
        freeze_idle(model, (64, 64), runtime)
    assert freeze_idle(model, (128, 128), runtime) == []


@pytest.mark.parametrize("crop", ["null", "[160,160]"])
def test_a_run_whose_images_do_not_fit_is_refused_before_it_has_folds(crop: str, tmp_path: Path) -> None:
    """With a crop, training alone would fit: validation would not."""
    overrides = [
        "name=a", f"outputs={tmp_path}", f"dataset.root={tmp_path / 'data'}", "dataset.train=8", "dataset.test=2",
        "trainer.accelerator=cpu", "trainer.precision=fp32", "folds.n=2", "model=dpt_dinov3_small",
        "model.encoder=tu-test_vit3", "model.encoder_weights=null", "dataset.side=200", f"dataset.train_crop={crop}",
    ]  # fmt: skip
    job = Job(compose_config("run", overrides))
    with pytest.raises(ConfigError, match=r"takes images of 160 x 160 alone, and cannot take 320 x 320"):
        train(job)
    assert not job.run.folds.exists()


@pytest.mark.parametrize("name", sorted(GROUPS))
def test_the_groups_build_and_normalise_as_their_weights_want(name: str) -> None:
    model = compose_config("run", [f"model={name}"]).model
    assert isinstance(model, SmpConfig)
    assert GROUPS[name] in (ROOT / "configs/model" / f"{name}.yaml").read_text()
    assert model.encoder == f"tu-{GROUPS[name].partition('.')[0]}"
    stated = timm.get_pretrained_cfg(GROUPS[name].partition(".")[0])
    assert stated is not None
    assert stated.tag == GROUPS[name].partition(".")[2], "what the plain name stands for"
    assert (tuple(model.mean), tuple(model.std)) == (stated.mean, stated.std)
    with torch.device("meta"):
        built = build_model(model, pretrained=False)
    assert built.sizes == Sizes(224 if "maxvit" in name else 32)
