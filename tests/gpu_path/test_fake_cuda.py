"""The GPU path as far as a machine without one can walk it: fake CUDA tensors have shape, layout and device, no values.

Whatever would read a value back, and so make a GPU wait, raises here. What only a GPU can show (kernels, autocast,
streams, speed) is marked `gpu`: `make test-gpu`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor, FakeTensorMode

from saltern.config import compose_config
from saltern.data.loading.evaluation import EvalBatch
from saltern.data.loading.geometry import plan_fit
from saltern.engine.ema import AveragedWeights
from saltern.engine.soundness import not_finite
from saltern.inference.predict import Predictor, Seeing, score_batches
from saltern.inference.tta import VIEWS, build_views
from saltern.metrics.streaming import StreamingCounts
from saltern.models import build_model
from saltern.runtime import Runtime

CUDA = torch.device("cuda:0")
NETWORKS = {
    "unet resnet34": ["model=unet_resnet34"],
    "unet lite0": ["model=unet_efficientnet_lite0"],
    "unet scse": ["model=unet_resnet34", "model.options={decoder_attention_type: scse}"],
    "fpn": ["model=unet_resnet34", "model.architecture=fpn"],
    "deeplabv3plus": ["model=unet_resnet34", "model.architecture=deeplabv3plus"],
    "deeplabv2": ["model=deeplabv2_resnet50"],
    "deeplabv2 multi-scale": ["model=deeplabv2_resnet50", "model.multi_scale=true"],
    "timm": ["model=unet_resnet34", "model.encoder=tu-resnet18"],
}
LEAVE = {"fpn": {"MergeBlock", "Dropout2d", "FPNDecoder"}}
"""Network → modules after which it does: SMP's FPN adds up a stack, which has the default layout."""


class FakeGpu:
    """What a predictor asks of a runtime."""

    device = CUDA

    def autocast(self) -> AbstractContextManager[None]:
        return nullcontext()  # torch disables CUDA's autocast where there is no CUDA


GPU = cast(Runtime, FakeGpu())


@pytest.fixture
def mode() -> Iterator[FakeTensorMode]:
    with torch.no_grad():  # autograd itself asks the driver
        yield FakeTensorMode()


def on_gpu(network: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Replace all tensors of `network` by fake ones of the same shape, layout and type on a GPU."""

    def fake(tensor: Tensor) -> Tensor:
        meta = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        return FakeTensor(mode, meta, CUDA)

    for module in network.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                module._parameters[name] = nn.Parameter(fake(parameter.data), parameter.requires_grad)
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = fake(buffer)
    return network


def network_of(name: str, mode: FakeTensorMode) -> Any:
    config = compose_config("run", [*NETWORKS[name], "model.encoder_weights=null"]).model
    network = build_model(config).to(memory_format=torch.channels_last)
    return on_gpu(network, mode)


def images(count: int = 2, side: int = 128) -> Tensor:
    made = torch.zeros(count, 3, side, side, dtype=torch.uint8, device=CUDA)
    return made.contiguous(memory_format=torch.channels_last)


def test_a_read_back_is_noticed(mode: FakeTensorMode) -> None:
    with mode, pytest.raises(DataDependentOutputException):
        torch.zeros(2, device=CUDA).sum().item()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_no_activation_leaves_channels_last(name: str, train: bool, mode: FakeTensorMode) -> None:
    """A network that falls out of it converts back and forth, and loses what the layout gains."""
    network = network_of(name, mode).train(train)
    left: set[str] = set()

    def watch(module: nn.Module, _: object, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4 or min(output.shape[2:]) == 1:
            return
        if not output.is_contiguous(memory_format=torch.channels_last):
            left.add(type(module).__name__)

    for module in network.modules():
        module.register_forward_hook(watch)
    with mode:
        logits = network(images()).logits
        assert logits.shape == (2, 1, 128, 128)
        assert logits.device == CUDA
    assert left == LEAVE.get(name, set())


@pytest.mark.parametrize("window", [None, 64])
def test_prediction_from_all_views_reads_nothing_back(window: int | None, mode: FakeTensorMode) -> None:
    networks = [network_of("unet resnet34", mode) for _ in range(2)]
    with mode:
        predictor = Predictor(GPU, networks, Seeing(build_views(list(VIEWS)), 32, window=window))
        probs = predictor(images()).probs
    assert probs.shape == (2, 1, 128, 128)
    assert probs.dtype == torch.float32
    assert probs.device == CUDA


def test_scores_are_counted_on_the_device_and_read_once(mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three batches pass before the one read at the end, which tells whether all probabilities were finite."""
    dataset = compose_config("run", ["dataset.root=x"]).dataset
    fit = plan_fit((101, 101), 32, dataset)
    truths = [np.zeros((101, 101), np.uint8)] * 4
    seen: list[torch.device] = []
    update = StreamingCounts.update

    def watched(self: StreamingCounts, rows: Tensor) -> None:
        seen.append(rows.device)
        update(self, rows)

    monkeypatch.setattr(StreamingCounts, "update", watched)

    def batches() -> Iterator[EvalBatch]:
        for number in range(3):
            rows = [4 * number + index for index in range(4)]
            yield EvalBatch(images(4, fit.padded[0]), rows, list(map(str, rows)), [fit] * 4, truths)

    network = network_of("unet resnet34", mode)
    with mode, pytest.raises(DataDependentOutputException):
        score_batches(Predictor(GPU, [network], Seeing(build_views(["identity"]), 32)), batches())
    assert seen == [CUDA] * 3


def test_averaging_reads_nothing_back(mode: FakeTensorMode) -> None:
    network = build_model(compose_config("run", ["model=unet_small"]).model)
    average = AveragedWeights(network, 0.9)
    fakes = FakeTensorMode()
    with fakes:
        for column in (average._floats, average._counters):
            for tensors in column:
                tensors[:] = [torch.empty(tensor.shape, dtype=tensor.dtype, device=CUDA) for tensor in tensors]
        average.update()
        average.restart()
    assert average.steps == 0


def test_the_check_for_broken_weights_reads_back_once(mode: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_model(compose_config("run", ["model=unet_small"]).model)
    reads: list[int] = []
    original = Tensor.tolist

    def counted(self: Tensor) -> Any:
        reads.append(self.numel())
        return original(self)

    monkeypatch.setattr(Tensor, "tolist", counted)
    assert not_finite([network]) == []
    assert len(reads) == 1
    faked = on_gpu(network, mode)
    with mode, pytest.raises(DataDependentOutputException):
        not_finite([faked])


@pytest.mark.parametrize("name", ["unet resnet34", "unet lite0"])
def test_a_network_is_one_graph(name: str) -> None:
    """`aot_eager` traces forward and backward as a compiler would, and runs them as they are."""
    config = compose_config("run", [*NETWORKS[name], "model.encoder_weights=null"]).model
    torch.manual_seed(0)
    network = build_model(config).eval()
    seen = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    plain, traced = network(seen).logits, compiled(seen).logits
    torch.testing.assert_close(traced, plain, rtol=1e-4, atol=1e-5)
    traced.sum().backward()
    assert all(parameter.grad is not None for parameter in network.net.segmentation_head.parameters())
