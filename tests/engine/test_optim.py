"""Learning-rate curves by hand values, parameter groups by counting."""

import pytest
import torch
from torch import nn

from saltern.config import OptimConfig, PhaseConfig
from saltern.config.choices import LR_POLICIES
from saltern.engine.optim import build_optimizer, ends_cycle, lr_at, set_lr


def phase(policy: str, **settings: object) -> PhaseConfig:
    return PhaseConfig(epochs=10, loss="bce", lr=2.0, lr_policy=policy, **settings)


@pytest.mark.parametrize(
    ("policy", "epoch", "expected"),
    [
        ("constant", 7.0, 2.0),
        ("cosine", 0.0, 2.0),
        ("cosine", 5.0, 1.0),
        ("cosine", 10.0, 0.0),
        ("poly", 5.0, 2.0 * 0.5**0.9),
        ("one_cycle", 0.0, 2.0 / 25),
        ("one_cycle", 3.0, 2.0),
        ("one_cycle", 10.0, 2.0 / 2500),
        ("plateau", 3.0, 2.0),
    ],
)
def test_hand_values(policy: str, epoch: float, expected: float) -> None:
    assert lr_at(phase(policy), epoch) == pytest.approx(expected, abs=1e-12)


def test_restarts_begin_each_cycle_at_the_top() -> None:
    curve = phase("cosine_restarts", cycles=2)
    assert [lr_at(curve, epoch) for epoch in (0.0, 5.0)] == [2.0, 2.0]
    assert lr_at(curve, 2.5) == pytest.approx(1.0)
    assert lr_at(curve, 4.999) < 1e-5


def test_plateau_halves_after_five_epochs_without_progress() -> None:
    curve = phase("plateau")
    assert lr_at(curve, 5.0, [0.5, 0.4, 0.4, 0.4, 0.4]) == 2.0
    assert lr_at(curve, 6.0, [0.5, 0.4, 0.4, 0.4, 0.4, 0.4]) == 1.0
    assert lr_at(curve, 7.0, [0.5, 0.4, 0.4, 0.4, 0.4, 0.6, 0.4]) == 2.0


@pytest.mark.parametrize("policy", LR_POLICIES)
def test_warm_up_rises_from_zero_and_no_policy_leaves_its_range(policy: str) -> None:
    curve = phase(policy, warmup_epochs=2.0)
    assert lr_at(curve, 0.0) == 0.0
    assert lr_at(curve, 1.0) == 1.0
    values = [lr_at(curve, step / 7, [0.1]) for step in range(70)]
    assert min(values) >= 0
    assert max(values) <= 2.0


def test_snapshots_end_each_cycle() -> None:
    curve = phase("cosine_restarts", cycles=5, snapshots=True)
    assert [ends_cycle(curve, epoch) for epoch in range(10)] == [None, 0, None, 1, None, 2, None, 3, None, 4]
    assert ends_cycle(phase("cosine_restarts", cycles=5), 1) is None


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_groups_carry_decay_and_scale(name: str, kind: type) -> None:
    model = nn.ModuleDict({"encoder": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), "head": nn.Conv2d(4, 1, 1)})
    model["encoder"][0].bias.requires_grad_(False)
    optimizer = build_optimizer(model, OptimConfig(name=name, weight_decay=0.1, encoder_lr_scale=0.5), lr=0.2)
    assert type(optimizer) is kind
    found = {
        (group["lr"], group["weight_decay"]): sum(item.numel() for item in group["params"])
        for group in optimizer.param_groups
    }
    assert found == {(0.1, 0.1): 108, (0.1, 0.0): 8, (0.2, 0.1): 4, (0.2, 0.0): 1}
    set_lr(optimizer, 1.0)
    assert sorted(group["lr"] for group in optimizer.param_groups) == [0.5, 0.5, 1.0, 1.0]
