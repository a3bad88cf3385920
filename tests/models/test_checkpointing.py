"""Blocks that are computed twice: less memory for the very same step, statistics, dropout, copies and keys."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from saltern.config import ConfigError, HeadsConfig, ModelConfig, SmpConfig, compose_config
from saltern.job import Job
from saltern.models import Outputs, SegmentationNet, build_model, checkpointing
from saltern.models.checkpointing import checkpoint_blocks
from saltern.pipeline import train

UNET = {"decoder_channels": [16, 8, 8, 8, 8]}
DPT = {"decoder_intermediate_channels": [8, 8, 8, 8], "decoder_fusion_channels": 8}
HEADS = HeadsConfig(hypercolumn=True, deep_supervision=0.1, empty=0.1)

CASES: dict[str, ModelConfig] = {
    "SMP": SmpConfig(architecture="unet", encoder="resnet18", options=UNET),
    "heads": SmpConfig(architecture="unet", encoder="tu-test_resnet", options=UNET, heads=HEADS),
    "fpn": SmpConfig(architecture="fpn", encoder="tu-test_convnext", heads=HEADS),  # its decoder has dropout
    "expansions": SmpConfig(architecture="unetplusplus", encoder="tu-test_efficientnet", options=UNET),
    "dropped": SmpConfig(
        architecture="dpt", encoder="tu-test_vit", options={**DPT, "proj_drop_rate": 0.3, "drop_path_rate": 0.3}
    ),
    "windows": SmpConfig(architecture="unet", encoder="tu-test_maxvit", options=UNET),
    "a list that grows": SmpConfig(architecture="unet", encoder="tu-densenet121", options=UNET),
}


def built(config: ModelConfig) -> SegmentationNet:
    torch.manual_seed(0)
    return build_model(config)


def step(model: SegmentationNet) -> tuple[list[Tensor | None], int]:
    """One step of SGD on two random images; the gradients, and the bytes that the forward pass saved beside weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    model.train()
    side = max(model.stride, 64)
    image = torch.randint(0, 256, (2, 3, side, side), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs: Outputs = model(image)
        heard = [outputs.logits, *outputs.deep, *([] if outputs.presence is None else [outputs.presence])]
        loss = torch.stack([logits.square().mean() for logits in heard]).sum()
    size = sum(tensor.untyped_storage().nbytes() for address, tensor in saved.items() if address not in weights)
    saved.clear()
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    return [parameter.grad for parameter in model.parameters()], size


def same(first: list[Tensor | None], second: list[Tensor | None]) -> bool:
    pairs = zip(first, second, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_the_same_bit_for_bit_and_saves_less(name: str) -> None:
    plain, twice = built(CASES[name]), built(CASES[name])
    checkpoint_blocks(twice.net, twice.name)
    assert list(twice.state_dict()) == list(plain.state_dict())
    (expected, much), (gradients, little) = step(plain), step(twice)
    assert same(gradients, expected)
    assert sum(gradient is not None for gradient in gradients) > 10
    assert same(list(twice.parameters()), list(plain.parameters()))
    assert little < 0.6 * much
    random = torch.get_rng_state()
    assert same(list(twice.buffers()), list(plain.buffers())), "statistics are taken once"
    step(plain)
    assert torch.equal(random, torch.get_rng_state()), "and as many random numbers drawn"


def test_batches_are_counted_once() -> None:
    model = built(CASES["SMP"])
    checkpoint_blocks(model.net, model.name)
    step(model)
    counted = [int(buffer) for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    assert len(counted) > 20
    assert set(counted) == {1}


def test_a_copy_computes_its_own_blocks_twice() -> None:
    """The averaged weights are a copy, and so is the network of the trial step."""
    model = built(CASES["SMP"])
    names = checkpoint_blocks(model.net, model.name)
    assert "encoder.layer1.0" in names
    assert "decoder.blocks.4" in names
    copy = deepcopy(model)
    gradients, size = step(copy)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(int(buffer) == 0 for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked"))
    expected, little = step(model)
    assert same(gradients, expected)
    assert size == little
    assert checkpoint_blocks(model.net, model.name) == names, "asked twice, done once"
    assert type(model.net.get_submodule("encoder.layer1.0")).__mro__.count(checkpointing._Checkpointed) == 1


def test_only_a_pass_that_has_a_backward_one_is_checkpointed(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Callable[..., Any]] = []
    original = checkpointing.checkpoint

    def noted(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        called.append(function)
        return original(function, *args, **kwargs)

    monkeypatch.setattr(checkpointing, "checkpoint", noted)
    model = built(CASES["SMP"])
    names = checkpoint_blocks(model.net, model.name)
    image = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    model.eval()(image)
    with torch.no_grad():
        model.train()(image)
    assert called == []
    model(image)
    assert len(called) == len(names)


def test_a_block_whose_inside_is_listened_to_is_left_alone() -> None:
    model = built(CASES["SMP"])
    heard: list[Tensor] = []
    model.net.get_submodule("encoder.layer2.0.conv1").register_forward_hook(lambda *args: heard.append(args[2]))
    names = checkpoint_blocks(model.net, model.name)
    assert "encoder.layer2.0" not in names
    assert "encoder.layer2.1" in names
    step(model)
    assert len(heard) == 1


def test_an_encoder_without_blocks_is_refused() -> None:
    model = built(SmpConfig(architecture="unet", encoder="vgg11", options=UNET))
    with pytest.raises(ConfigError, match=r"trainer\.checkpointing=true: unet with encoder vgg11 has no blocks"):
        checkpoint_blocks(model.net, model.name)


def test_a_run_is_the_same_with_and_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    overrides = [
        f"outputs={tmp_path}", f"dataset.root={tmp_path / 'data'}", "dataset.train=8", "dataset.test=2",
        "dataset.side=32", "trainer.accelerator=cpu", "trainer.precision=fp32", "folds.n=2", "trainer.folds=[0]",
        "trainer.ema_decay=0.9", "trainer.batch_size=2", "schedule.phases.warm_up.epochs=1",
        "schedule.phases.fine_tune.epochs=1",
    ]  # fmt: skip
    caplog.set_level("INFO")
    best = {}
    for name in ("false", "true"):
        job = Job(compose_config("run", [*overrides, f"name={name}", f"trainer.checkpointing={name}"]))
        train(job, finish=False)
        best[name] = job.run.fold(0).best.read_bytes()
        assert ("blocks keep their input alone" in caplog.text) == (name == "true")
    assert best["true"] == best["false"]
