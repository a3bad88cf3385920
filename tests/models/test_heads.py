"""Heads against explicit computations, and the loss of what they say against hand values."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from saltern.config import ConfigError, DeepLabV2Config, HeadsConfig, LossTerm, SmpConfig
from saltern.config.choices import ARCHITECTURES
from saltern.engine.objective import Objective, presence_loss
from saltern.losses import bce, build_loss
from saltern.models import Outputs, SegmentationNet, build_model
from saltern.models.heads import LEVELS
from saltern.models.trained import load_weights, save_weights

ALL = HeadsConfig(hypercolumn=True, deep_supervision=0.3, empty=0.1)
SMALL = {"encoder": "resnet18", "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 6]}}
ENCODERS = {"dpt": "tu-test_vit"}
"""Those that take no resnet18."""
ONE_SIZE = sorted(set(ARCHITECTURES) - set(LEVELS))


def small(heads: HeadsConfig = ALL, seed: int = 0, **settings: Any) -> SegmentationNet:
    torch.manual_seed(seed)
    return build_model(SmpConfig(architecture="unet", heads=heads, **{**SMALL, **settings}))


def images(count: int = 2, side: int = 32, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def said(network: nn.Module, seen: Tensor | None = None) -> Outputs:
    with torch.no_grad():
        outputs: Outputs = network(images() if seen is None else seen)
    return outputs


def flat(outputs: Outputs) -> list[Tensor]:
    presence = [] if outputs.presence is None else [outputs.presence]
    return [outputs.logits, *presence, *outputs.deep]


# ---------------------------------------------------------------------------------------- the heads
def test_a_hypercolumn_is_what_comes_of_enlarging_first_and_projecting_then() -> None:
    network = small(HeadsConfig(hypercolumn=True)).eval()
    head = network.net.segmentation_head
    levels: list[Tensor] = []
    for block in network.net.decoder.blocks:
        block.register_forward_hook(lambda module, args, output: levels.append(output))
    logits = said(network).logits
    assert [tuple(level.shape[1:]) for level in levels] == [(16, 8, 8), (8, 16, 16), (6, 32, 32)]
    enlarged = [interpolate(level, size=(32, 32), mode="bilinear", align_corners=False) for level in levels]
    with torch.no_grad():
        columns = [column(level) for column, level in zip(head.columns, enlarged, strict=True)]
        expected = head.head(torch.cat(columns, dim=1))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert logits.std() > 0


def test_presence_reads_mean_and_maximum_of_the_deepest_features() -> None:
    network = small(HeadsConfig(empty=0.1)).eval()
    with torch.no_grad():
        deepest = network.encoder((images().float() - network.mean) / network.std)[-1]
        pooled = torch.cat([deepest.flatten(2).mean(2), deepest.flatten(2).max(2).values], dim=1)
        linear = network.heads.presence.linear
        expected = pooled @ linear.weight.T + linear.bias
    torch.testing.assert_close(said(network).presence, expected)
    assert expected.shape == (2, 1)


def test_presence_is_finer_than_half_precision_where_the_network_is_not() -> None:
    network = small(HeadsConfig(empty=0.1)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = said(network, images(8))
    assert outputs.logits.dtype == torch.bfloat16
    assert outputs.presence.dtype == torch.float32
    assert not torch.equal(outputs.presence, outputs.presence.bfloat16().float())


def test_a_deep_mask_is_a_projection_of_a_coarser_level_and_comes_in_training_alone() -> None:
    network = small(HeadsConfig(deep_supervision=0.3))
    levels: list[Tensor] = []
    for block in network.net.decoder.blocks:
        block.register_forward_hook(lambda module, args, output: levels.append(output))
    deep = said(network).deep
    with torch.no_grad():
        expected = [head(level) for head, level in zip(network.heads.deep, levels[:2], strict=True)]
    assert [tuple(mask.shape) for mask in deep] == [(2, 1, 8, 8), (2, 1, 16, 16)]
    assert all(torch.equal(*pair) for pair in zip(deep, expected, strict=True))
    assert said(network.eval()).deep == ()


def test_heads_leave_the_mask_of_the_network_as_it_was() -> None:
    plain, headed = small(HeadsConfig()).eval(), small(HeadsConfig(deep_supervision=0.3, empty=0.1)).eval()
    headed.net.load_state_dict(plain.net.state_dict())
    assert plain.heads is None
    assert torch.equal(said(plain).logits, said(headed).logits)


@pytest.mark.parametrize("architecture", sorted(LEVELS))
def test_every_architecture_with_several_sizes_carries_every_head(architecture: str) -> None:
    torch.manual_seed(0)
    network = build_model(
        SmpConfig(architecture=architecture, encoder=ENCODERS.get(architecture, "resnet18"), heads=ALL)
    )
    side = 8 * network.stride if architecture == "pan" else 2 * network.stride  # PAN pools its deepest features thrice
    outputs = network(images(side=side))
    assert outputs.logits.shape == (2, 1, side, side)
    assert outputs.presence.shape == (2, 1)
    sizes = [mask.shape[2] for mask in outputs.deep]
    assert sizes == sorted(set(sizes))
    assert len(sizes) >= 1
    sum(tensor.sum() for tensor in flat(outputs)).backward()
    mute = [name for name, parameter in network.heads.named_parameters() if parameter.grad is None]
    mute += [name for name, parameter in network.net.segmentation_head.named_parameters() if parameter.grad is None]
    assert mute == []


@pytest.mark.parametrize("architecture", ONE_SIZE)
@pytest.mark.parametrize("head", [{"hypercolumn": True}, {"deep_supervision": 0.1}])
def test_an_architecture_with_one_size_refuses_by_name(architecture: str, head: dict[str, Any]) -> None:
    assert ONE_SIZE == ["deeplabv3", "deeplabv3plus", "pspnet"]
    with pytest.raises(ConfigError, match=rf"model\.heads\.{next(iter(head))}: {architecture} has .*: unet, "):
        build_model(SmpConfig(architecture=architecture, encoder="resnet18", heads=HeadsConfig(**head)))
    network = build_model(SmpConfig(architecture=architecture, encoder="resnet18", heads=HeadsConfig(empty=0.1)))
    assert said(network.eval(), images(side=64)).presence.shape == (2, 1)


def test_a_decoder_too_shallow_for_several_sizes_says_so() -> None:
    options = {"encoder_depth": 1, "decoder_channels": [8]}
    with pytest.raises(ConfigError, match=r"model\.heads\.hypercolumn: .* features of one size alone.*encoder_depth"):
        small(HeadsConfig(hypercolumn=True), options=options)
    with pytest.raises(ConfigError, match=r"model\.heads\.deep_supervision: "):
        small(HeadsConfig(deep_supervision=0.1), options=options)


@pytest.mark.parametrize("multi_scale", [False, True])
def test_deeplabv2_tells_presence_from_the_image_at_its_own_size_and_carries_nothing_else(multi_scale: bool) -> None:
    config = {"encoder": "resnet50", "multi_scale": multi_scale}
    network = build_model(DeepLabV2Config(**config, heads=HeadsConfig(empty=0.1))).eval()
    seen = images(1, 64)
    with torch.no_grad():
        deepest = network.encoder((seen.float() - network.mean) / network.std)
        expected = network.heads.presence(deepest)
    torch.testing.assert_close(said(network, seen).presence, expected)
    for heads in (HeadsConfig(hypercolumn=True), HeadsConfig(deep_supervision=0.1)):
        with pytest.raises(ConfigError, match="deeplabv2 has decoder features of one size alone"):
            build_model(DeepLabV2Config(**config, heads=heads))


# ------------------------------------------------------------------------------- weights and copies
def test_weights_of_a_network_with_heads_survive_their_file(tmp_path: Path) -> None:
    first, second = small(seed=1), small(seed=2)
    save_weights(tmp_path / "w.safetensors", first)
    assert not torch.equal(said(first.eval()).presence, said(second.eval()).presence)
    load_weights(tmp_path / "w.safetensors", second)
    for mode in (True, False):
        pairs = list(zip(flat(said(first.train(mode))), flat(said(second.train(mode))), strict=True))
        assert len(pairs) == (4 if mode else 2)
        assert all(torch.equal(*pair) for pair in pairs)


def test_a_file_of_the_encoder_still_fits(tmp_path: Path) -> None:
    state = {key: value.clone() for key, value in small(HeadsConfig(), seed=1).encoder.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    network = small(seed=2, encoder_weights=str(tmp_path / "w.safetensors"))
    assert network.weights_report.complete
    loaded = network.encoder.state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_a_copy_listens_to_its_own_network() -> None:
    network = small()
    copy = deepcopy(network)
    before = [item.clone() for item in flat(said(network))]
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert all(torch.equal(*pair) for pair in zip(before, flat(said(network)), strict=True))
    assert all(not item.any() for item in flat(said(copy)))
    with torch.no_grad():
        for own, other in zip(copy.parameters(), network.parameters(), strict=True):
            own.copy_(other)
            other.zero_()
    assert all(torch.equal(*pair) for pair in zip(before, flat(said(copy)), strict=True))


def test_of_a_step_that_failed_half_way_nothing_is_kept() -> None:
    """Else its features would stay in memory, just where that ran out; and a network that holds some has no copy."""
    network = small().eval()
    expected = said(network)
    handle = network.net.segmentation_head.head.register_forward_hook(_lose)
    with pytest.raises(RuntimeError, match="lost"):
        network(images(seed=2))
    handle.remove()
    assert torch.equal(said(deepcopy(network)).presence, expected.presence)


def _lose(*_: object) -> None:
    raise RuntimeError("device lost")


# ------------------------------------------------------------------------------------ the objective
def targets_of(*rows: list[int]) -> Tensor:
    """A target (B, 1, 2, 2) of so many images."""
    return torch.tensor(rows, dtype=torch.uint8).view(-1, 1, 2, 2)


def test_the_presence_loss_by_hand_leaves_void_images_out() -> None:
    targets = targets_of([0, 0, 1, 255], [0, 0, 0, 0], [255] * 4, [255, 255, 255, 0])
    logits = torch.tensor([[0.4], [-1.0], [50.0], [2.0]], requires_grad=True)
    loss = presence_loss(logits, targets)
    hand = (math.log(1 + math.exp(-0.4)) + math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(2.0))) / 3
    assert loss.item() == pytest.approx(hand, rel=1e-6)
    loss.backward()
    sigmoid = [1 / (1 + math.exp(-value)) for value in (0.4, -1.0, 2.0)]
    expected = [(sigmoid[0] - 1) / 3, sigmoid[1] / 3, 0.0, sigmoid[2] / 3]
    assert logits.grad.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_where_all_is_void_the_presence_loss_and_its_gradient_are_zero() -> None:
    logits = torch.tensor([[3.0], [-40.0]], requires_grad=True)
    loss = presence_loss(logits, targets_of([255] * 4, [255] * 4))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.flatten().tolist() == [0, 0]


def test_the_objective_adds_the_heads_with_their_weights_and_names_them() -> None:
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(0, 2, (2, 1, 8, 8), generator=generator).float()
    targets[:, :, :3, :3] = 255
    outputs = Outputs(
        torch.randn(2, 1, 8, 8, generator=generator),
        torch.randn(2, 1, generator=generator),
        tuple(torch.randn(2, 1, side, side, generator=generator) for side in (2, 4)),
    )
    loss = build_loss([LossTerm(name="bce", weight=0.5)])
    total, terms = Objective(loss, HeadsConfig(deep_supervision=0.3, empty=0.1))(outputs, targets)
    centres = [targets[:, :, 8 // side // 2 :: 8 // side, 8 // side // 2 :: 8 // side] for side in (2, 4)]
    deep = sum(0.5 * bce(mask, centre) for mask, centre in zip(outputs.deep, centres, strict=True)) / 2
    presence = presence_loss(outputs.presence, targets)
    torch.testing.assert_close(total, 0.5 * bce(outputs.logits, targets) + 0.3 * deep + 0.1 * presence)
    assert list(terms) == ["bce", "deep_supervision", "empty"]
    torch.testing.assert_close(terms["deep_supervision"], deep)
    torch.testing.assert_close(terms["empty"], presence)
    plain, terms = Objective(loss, HeadsConfig())(Outputs(outputs.logits), targets)
    assert torch.equal(plain, loss(outputs.logits, targets)[0])
    assert list(terms) == ["bce"]
