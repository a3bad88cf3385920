"""DeepLab v2 in the trainer: what is frozen stays, the rest learns, with averaged weights and a checkpoint as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fold_runs import Batch, trainer
from torch import nn

from saltern import runtime
from saltern.config import DeepLabV2Config, OptimConfig, PhaseConfig, ScheduleConfig, TrainerConfig
from saltern.engine.ema import AveragedWeights
from saltern.engine.fold_data import FoldData
from saltern.engine.optim import build_optimizer
from saltern.engine.soundness import freeze_idle
from saltern.models import SegmentationNet, build_model
from saltern.models.trained import load_weights
from saltern.runs import FoldDir


def network(freeze: bool, multi_scale: bool = False) -> SegmentationNet:
    torch.manual_seed(0)
    return build_model(DeepLabV2Config(encoder="resnet50", freeze_batchnorm=freeze, multi_scale=multi_scale))


def drawn() -> FoldData:
    """Two batches of two images with a bright square."""

    def batches(epoch: int, sampling: float | None) -> Iterator[Batch]:
        for number in range(2):
            target = torch.zeros(2, 1, 32, 32, dtype=torch.uint8)
            target[:, :, 8 * number : 8 * number + 16, 8:24] = 1
            yield Batch((target * 200 + 20).expand(2, 3, 32, 32).contiguous(), target, ("a", "b"))

    return FoldData(batches, [2, 2], lambda network: {"precision_tgs": 0.5})


@pytest.mark.parametrize(("freeze", "lr"), [(True, 1e-4), (False, 1.0)])
def test_the_trainer_moves_what_is_not_frozen(freeze: bool, lr: float, tmp_path: Path) -> None:
    """With a step so large, where there are norms, that the smallest gradient moves a factor of 1 in float32."""
    model = network(freeze)
    phase = PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=lr, lr_policy="poly")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    engine, log = trainer(tmp_path, ScheduleConfig(phases={"poly": phase}), "sgd", ema_decay=0.9)
    state = engine.fit(model, drawn(), seed=0)
    assert state.step == 2
    assert log.rows[0][2]["lr"] == pytest.approx(lr * 0.5**0.9)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(before[key], value)}
    norms = {
        f"{name}.{key}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for key in module.state_dict()
    }
    assert moved == (set(before) - norms if freeze else set(before))
    kept = build_model(DeepLabV2Config(encoder="resnet50", freeze_batchnorm=freeze))
    load_weights(FoldDir(tmp_path).best, kept)
    assert engine.average is not None
    averaged = engine.average.network.state_dict()
    assert all(torch.equal(averaged[key], value) for key, value in kept.state_dict().items())
    assert not freeze or all(torch.equal(before[key], averaged[key]) for key in norms)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()  # a third of a gigabyte


@pytest.mark.parametrize("multi_scale", [True, False])
@pytest.mark.parametrize("freeze", [True, False])
def test_no_parameter_is_idle(freeze: bool, multi_scale: bool) -> None:
    """Plain DDP waits for the gradient of every parameter that is not frozen."""
    placed = runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))
    assert freeze_idle(network(freeze, multi_scale), (32, 32), placed) == []


def test_the_encoder_has_a_learning_rate_of_its_own_and_frozen_norms_are_in_no_group() -> None:
    optim = OptimConfig(name="sgd", weight_decay=5e-4, encoder_lr_scale=0.1)
    groups = build_optimizer(network(freeze=True), optim, lr=1.0).param_groups
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (0.1, 5e-4, 53),
        (1.0, 5e-4, 4),
        (1.0, 0.0, 4),
    ]


def test_the_average_of_a_network_with_frozen_norms_has_them_frozen_too() -> None:
    average = AveragedWeights(network(freeze=True), 0.9).network.train()
    assert not any(module.training for module in average.modules() if isinstance(module, nn.BatchNorm2d))
