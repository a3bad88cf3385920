"""What a phase freezes keeps every bit, a later phase thaws it, and what was frozen for good stays so."""

from pathlib import Path

import pytest
import torch
from fold_runs import Killed, data, trainer, weights
from torch import Tensor, nn

from saltern.config import PhaseConfig, ScheduleConfig
from saltern.engine.checkpoint import load_checkpoint
from saltern.engine.freezing import Freezer, refuse_still_phases
from saltern.errors import ConfigError
from saltern.models import Outputs
from saltern.models.deeplabv2 import FrozenBatchNorm
from saltern.runs import FoldDir


class Coded(nn.Module):
    """An encoder with batch norm, a norm that is frozen by itself, and a layer that nothing depends on; a decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), FrozenBatchNorm(4))
        self.idle = nn.Linear(2, 2).requires_grad_(False)
        self.decoder = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))

    def forward(self, image: Tensor) -> Outputs:
        return Outputs(self.decoder(self.encoder(image.float() / 255)))


def coded() -> Coded:
    torch.manual_seed(0)
    return Coded()


def schedule(**frozen: dict[str, bool]) -> ScheduleConfig:
    """A phase of two epochs for each of `frozen`."""
    phases = {name: PhaseConfig(epochs=2, loss={"bce": 1.0}, lr=0.05, **keys) for name, keys in frozen.items()}
    return ScheduleConfig(phases=phases)


def moved(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of parameters and buffers of which a bit changed."""
    others = after.state_dict()
    return {name for name, tensor in before.state_dict().items() if not torch.equal(tensor, others[name])}


ENCODER = {"encoder.0.weight", "encoder.0.bias"}
ENCODER_NORM = {f"encoder.1.{key}" for key in nn.BatchNorm2d(4).state_dict()}
DECODER = {f"decoder.{number}.{key}" for number in (0, 3) for key in ("weight", "bias")}
DECODER_NORM = {f"decoder.1.{key}" for key in nn.BatchNorm2d(4).state_dict()}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ENCODER | ENCODER_NORM | DECODER | DECODER_NORM),
        ({"freeze_encoder": True}, DECODER | DECODER_NORM),
        ({"freeze_batchnorm": True}, ENCODER | DECODER),
        ({"freeze_encoder": True, "freeze_batchnorm": True}, DECODER),
    ],
)
@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_phase_moves_what_it_does_not_freeze(
    keys: dict[str, bool], expected: set[str], ema_decay: float | None, tmp_path: Path
) -> None:
    model = coded()
    engine, _ = trainer(tmp_path, schedule(only=keys), ema_decay=ema_decay)
    engine.fit(model, data(), seed=0)
    assert moved(coded(), model) == expected
    if engine.average:
        assert moved(coded(), engine.average.network) == expected


def test_the_optimizer_holds_only_what_moves(tmp_path: Path) -> None:
    trainer(tmp_path, schedule(only={"freeze_encoder": True}))[0].fit(coded(), data(), seed=0)
    _, parts = load_checkpoint(FoldDir(tmp_path).last)
    held = sum(len(group["params"]) for group in parts["optimizer"]["param_groups"])
    assert held == len(DECODER) + 2


def test_a_later_phase_thaws_what_an_earlier_one_froze_and_nothing_else() -> None:
    model = coded()
    freezer = Freezer(model)
    first, second = schedule(a={"freeze_encoder": True, "freeze_batchnorm": True}, b={}).phases.values()

    def free() -> set[str]:
        return {name for name, parameter in model.named_parameters() if parameter.requires_grad}

    before = free()
    assert freezer.begin(first)
    assert free() == DECODER
    assert freezer.begin(second)
    assert free() == before
    assert not any(name.startswith(("idle.", "encoder.3.")) for name in before)
    assert not freezer.begin(second)


@pytest.mark.parametrize("die_in", [1, 2, 3])
def test_interrupted_in_a_phase_with_a_frozen_encoder_and_after_it(die_in: int, tmp_path: Path) -> None:
    """Epochs 0 and 1 freeze the encoder, 2 and 3 do not, 4 and 5 keep the statistics."""
    plan = schedule(decoder={"freeze_encoder": True}, all={}, settle={"freeze_batchnorm": True})
    straight, continued = coded(), Coded()
    trainer(tmp_path / "a", plan)[0].fit(straight, data(), seed=7)
    with pytest.raises(Killed):
        trainer(tmp_path / "b", plan)[0].fit(coded(), data(die_in=die_in), seed=7)
    if die_in < 3:
        stopped = load_checkpoint(FoldDir(tmp_path / "b").last)[1]["model"]
        assert all(torch.equal(stopped[name], coded().state_dict()[name]) for name in ENCODER | ENCODER_NORM)
    trainer(tmp_path / "b", plan)[0].fit(continued, data(), seed=7)
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    assert moved(coded(), straight) == ENCODER | ENCODER_NORM | DECODER | DECODER_NORM


def test_a_phase_with_nothing_left_to_train_is_refused_by_name() -> None:
    model = coded()
    model.decoder.requires_grad_(False)
    refuse_still_phases(model, schedule(a={}, b={"freeze_batchnorm": True}))
    with pytest.raises(ConfigError, match=r"schedule\.phases\.b: nothing is left to train .* with freeze_encoder=true"):
        refuse_still_phases(model, schedule(a={}, b={"freeze_encoder": True}))
