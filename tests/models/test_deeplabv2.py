"""DeepLab v2 against the paper, against torch's plain functions, and against the ImageNet network that it densifies."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from saltern.config import DeepLabV2Config
from saltern.models import SegmentationNet, build_model
from saltern.models.deeplabv2 import RATES, AtrousPyramid, DeepLabV2
from saltern.models.trained import load_weights, save_weights

BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STAGES = (("layer1", 64, 1, 1, 1), ("layer2", 128, 2, 1, 1), ("layer3", 256, 1, 1, 2), ("layer4", 512, 1, 2, 4))
"""Name, width, stride, dilation of the first block and of the others."""


def made(**settings: Any) -> SegmentationNet:
    """A network with random weights and running statistics that are neither 0 nor 1."""
    torch.manual_seed(0)
    model = build_model(DeepLabV2Config(**{"encoder": "resnet50", **settings}))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
            nn.init.uniform_(module.weight, 0.5, 0.8)
    return model.eval()


@pytest.fixture(scope="module")
def network() -> DeepLabV2:
    net = made().net
    assert isinstance(net, DeepLabV2)
    return net


# ------------------------------------------------------------------------------------ architecture
def by_hand(image: Tensor, state: dict[str, Tensor], blocks: tuple[int, ...]) -> dict[str, Tensor]:
    """The output of every convolution by its name, the logits as `logits`; written from the paper, without modules."""
    seen: dict[str, Tensor] = {}

    def conv(x: Tensor, name: str, **options: int) -> Tensor:
        seen[name] = functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)
        return seen[name]

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var, factor, offset = (
            state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * factor + offset

    x = norm(conv(image, "encoder.conv1", stride=2, padding=3), "encoder.bn1").relu()
    x = functional.max_pool2d(x, 3, stride=2, padding=1)
    for (stage, _, stage_stride, first, others), count in zip(STAGES, blocks, strict=True):
        for index in range(count):
            name, dilation = f"encoder.{stage}.{index}", others if index else first
            stride = 1 if index else stage_stride
            y = norm(conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
            y = conv(y, f"{name}.conv2", stride=stride, padding=dilation, dilation=dilation)
            y = norm(conv(norm(y, f"{name}.bn2").relu(), f"{name}.conv3"), f"{name}.bn3")
            if index == 0:
                x = norm(conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            x = (x + y).relu()
    branches = [
        conv(x, f"pyramid.branches.{index}", padding=rate, dilation=rate) for index, rate in enumerate((6, 12, 18, 24))
    ]
    total = branches[0] + branches[1] + branches[2] + branches[3]
    seen["logits"] = functional.interpolate(total, image.shape[2:], mode="bilinear", align_corners=False)
    return seen


def test_every_convolution_gives_what_plain_functions_give(network: DeepLabV2) -> None:
    """On a map of 4 by 26, so that the widest branch has neighbours within it."""
    found: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: found.__setitem__(name, output))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    torch.manual_seed(2)
    image = torch.randn(1, 3, 32, 208)
    with torch.no_grad():
        found["logits"] = network(image)
        expected = by_hand(image, network.state_dict(), BLOCKS["resnet50"])
    for hook in hooks:
        hook.remove()
    assert set(found) == set(expected)
    assert len(found) == 53 + 4 + 1
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-3, atol=1e-4 * float(output.abs().max()), msg=name)


@pytest.mark.parametrize("encoder", ["resnet50", "resnet101"])
def test_strides_and_dilations_are_those_of_output_stride_8(encoder: str) -> None:
    net = build_model(DeepLabV2Config(encoder=encoder)).net
    assert isinstance(net, DeepLabV2)
    middle = {
        name: (module.stride[0], module.dilation[0], module.padding[0])
        for name, module in net.encoder.named_modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    }
    assert middle == {
        f"{stage}.{index}.conv2": (1 if index else stride, others if index else first, others if index else first)
        for (stage, _, stride, first, others), count in zip(STAGES, BLOCKS[encoder], strict=True)
        for index in range(count)
    }
    assert [branch.dilation for branch in net.pyramid.branches] == [(6, 6), (12, 12), (18, 18), (24, 24)]
    with torch.no_grad():
        assert net.eval().encoder(torch.zeros(1, 3, 32, 48)).shape == (1, 2048, 4, 6)


def test_features_hold_those_of_the_imagenet_network_at_every_fourth_pixel(network: DeepLabV2) -> None:
    """Dilation in place of stride computes the same on a denser grid: weights of the strided network stay right."""
    strided = torchvision.models.resnet50().eval()
    strided.load_state_dict(network.encoder.state_dict(), strict=False)
    torch.manual_seed(3)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        dense = network.encoder(image)
        sparse = nn.Sequential(*list(strided.children())[:-2])(image)
    assert dense.shape[2:] == (8, 12)
    assert sparse.shape[2:] == (2, 3)
    torch.testing.assert_close(dense[..., ::4, ::4], sparse, rtol=1e-3, atol=1e-4 * float(sparse.max()))


@pytest.mark.parametrize("index", range(4))
def test_a_branch_sees_9_pixels_of_2_rates_and_1(index: int) -> None:
    torch.manual_seed(4)
    features = torch.randn(1, 8, 61, 61, requires_grad=True)
    AtrousPyramid(8).branches[index](features)[0, 0, 30, 30].backward()
    assert features.grad is not None
    rows, columns = features.grad[0].abs().sum(0).nonzero(as_tuple=True)
    rate = RATES[index]
    steps = (30 - rate, 30, 30 + rate)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == {(y, x) for y in steps for x in steps}
    assert int(rows.max() - rows.min()) + 1 == 2 * rate + 1


def test_the_pyramid_sees_the_pixels_of_all_branches_and_adds_their_biases() -> None:
    pyramid = AtrousPyramid(2)
    for number, branch in enumerate(pyramid.branches):
        assert torch.equal(branch.bias, torch.zeros(1))
        nn.init.constant_(branch.bias, 10.0**number)
    features = torch.zeros(1, 2, 61, 61, requires_grad=True)
    logits = pyramid(features)
    assert logits[0, 0, 30, 30] == 1111
    logits[0, 0, 30, 30].backward()
    assert features.grad is not None
    assert int((features.grad[0, 0] != 0).sum()) == 1 + 4 * 8


@pytest.mark.parametrize(("encoder", "total"), [("resnet50", 23_581_764), ("resnet101", 42_573_892)])
def test_parameters_add_up(encoder: str, total: int) -> None:
    """Convolutions without biases, each with a factor and an offset per channel; four branches with biases."""
    expected = 3 * 64 * 49 + 2 * 64
    incoming = 64
    for (_, width, _, _, _), count in zip(STAGES, BLOCKS[encoder], strict=True):
        for index in range(count):
            expected += incoming * width + width * width * 9 + width * 4 * width + 2 * (width + width + 4 * width)
            expected += incoming * 4 * width + 2 * 4 * width if index == 0 else 0
            incoming = 4 * width
    expected += 4 * (2048 * 9 + 1)
    model = build_model(DeepLabV2Config(encoder=encoder))
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == total


# ------------------------------------------------------------------------------------------ scales
def test_several_scales_give_the_highest_of_their_logits() -> None:
    model = made(multi_scale=True)
    net, alone = model.net, made().net
    torch.manual_seed(5)
    image = torch.randn(1, 3, 64, 96)
    half, most = torch.randn(1, 1, 4, 6), torch.randn(1, 1, 6, 9)
    with torch.no_grad():
        whole = alone.pyramid(alone.encoder(image))
        half = alone.pyramid(alone.encoder(functional.avg_pool2d(image, 2)))  # what bilinear is at exactly a half
        most = alone.pyramid(
            alone.encoder(functional.interpolate(image, (48, 72), mode="bilinear", align_corners=False))
        )
        larger = [functional.interpolate(part, (8, 12), mode="bilinear", align_corners=False) for part in (half, most)]
        fused = torch.stack([whole, *larger]).amax(0)
        expected = functional.interpolate(fused, (64, 96), mode="bilinear", align_corners=False)
        found = net(image)
    assert (half.shape[2:], most.shape[2:]) == ((4, 6), (6, 9))
    assert any(bool((part > whole).any()) for part in larger), "a scale that never wins tests nothing"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_sides_are_such_that_no_scale_has_a_part_of_a_pixel() -> None:
    assert (made().stride, made(multi_scale=True).stride) == (8, 32)


@pytest.mark.parametrize("multi_scale", [False, True])
def test_it_behaves_like_every_network_here(multi_scale: bool) -> None:
    """Bytes in, one logit per pixel out; in channels_last under bf16 as well, near what fp32 says."""
    model = made(multi_scale=multi_scale)
    torch.manual_seed(6)
    image = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        plain = model(image).logits
        model.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            short = model(image.contiguous(memory_format=torch.channels_last)).logits
    assert plain.shape == short.shape == (2, 1, 64, 96)
    assert (plain.dtype, short.dtype) == (torch.float32, torch.bfloat16)
    assert float((plain - short).abs().max()) < 0.1 * float(plain.abs().max())


def test_weights_are_saved_and_loaded_with_and_without_frozen_norms(tmp_path: Path) -> None:
    """The state dicts are the same, so the choice can be changed from one run to the next."""
    first, second = made(), made(freeze_batchnorm=True)
    save_weights(tmp_path / "w.safetensors", first)
    nn.init.zeros_(second.net.encoder.conv1.weight)
    load_weights(tmp_path / "w.safetensors", second)
    (tmp_path / "w.safetensors").unlink()
    assert list(first.state_dict()) == list(second.state_dict())
    assert all(torch.equal(first.state_dict()[key], value) for key, value in second.state_dict().items())


# --------------------------------------------------------------------------------- frozen batch norm
def test_frozen_norms_stay_as_they_are_in_training_and_in_copies() -> None:
    model = made(freeze_batchnorm=True)
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(image).logits
    for net in (model, deepcopy(model)):
        before = {key: value.clone() for key, value in net.state_dict().items()}
        net.train()
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        assert len(norms) == 53
        assert net.encoder.training
        assert not any(norm.training for norm in norms)
        assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
        logits = net(image).logits
        assert torch.equal(logits, expected)
        logits.sum().backward()
        assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    trained = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    assert len(trained) == 53 + 2 * 4


def test_other_norms_learn() -> None:
    model = made().train()
    before = model.net.encoder.bn1.running_mean.clone()
    model(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    assert not torch.equal(before, model.net.encoder.bn1.running_mean)
    assert all(parameter.requires_grad for parameter in model.parameters())
