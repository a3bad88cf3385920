"""The average of the weights is the formula's, is what is scored and kept, and goes on where it stopped."""

from pathlib import Path

import pytest
import torch
from fold_runs import Killed, Net, data, fresh, phases, trainer, weights
from safetensors.torch import load_file
from torch import nn

from saltern.engine.ema import RAMP, AveragedWeights
from saltern.runs import FoldDir


def moved(network: nn.Linear, value: float) -> nn.Linear:
    with torch.no_grad():
        network.weight.fill_(value)
    return network


def test_the_average_is_that_of_the_formula() -> None:
    network = moved(nn.Linear(1, 1, bias=False), 2.0)
    average = AveragedWeights(network, decay=0.5)
    expected = 2.0
    for step, value in enumerate([4.0, -1.0, 7.0, 7.0, 0.0] * 4, start=1):
        moved(network, value)
        average.update()
        decay = min(0.5, step / (step + RAMP))
        expected = decay * expected + (1 - decay) * value
        assert average.network.weight.item() == pytest.approx(expected, abs=1e-6)
    assert network.weight.item() == 0.0


def test_running_statistics_are_averaged_and_counters_copied() -> None:
    network = nn.BatchNorm2d(1, momentum=1.0)
    average = AveragedWeights(network, decay=0.5)
    for _ in range(2):
        network(torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(0)) + 5)
        average.update()
    mean = float(network.running_mean)
    first = (1 - 1 / (1 + RAMP)) * mean
    assert float(average.network.running_mean) == pytest.approx(first + (mean - first) * (1 - 2 / (2 + RAMP)), rel=1e-5)
    assert int(average.network.num_batches_tracked) == int(network.num_batches_tracked) == 2


def test_the_averaged_weights_are_scored_and_kept(tmp_path: Path) -> None:
    schedule = phases(epochs=1, lr=0.01, start_from="last")
    engine, log = trainer(tmp_path, schedule, ema_decay=0.9)
    model = fresh()
    engine.fit(model, data(), seed=0)
    assert engine.average is not None
    kept = Net()
    kept.load_state_dict(load_file(FoldDir(tmp_path).best))
    scores = [row[2]["val_precision_tgs"] for row in log.rows]
    assert data().validate(kept)["precision_tgs"] == max(scores)
    assert data().validate(engine.average.network)["precision_tgs"] == scores[-1]
    assert not torch.equal(engine.average.network.state_dict()["conv.weight"], model.conv.weight)


def test_a_phase_from_the_best_weights_averages_from_there(tmp_path: Path) -> None:
    engine, _ = trainer(tmp_path, phases(lr=1e-12, lr_policy="constant"), ema_decay=0.9)
    engine.fit(fresh(), data(), seed=0)
    assert engine.average is not None
    assert engine.average.steps == 6
    best = load_file(FoldDir(tmp_path).best)
    for name, tensor in engine.average.network.state_dict().items():
        assert torch.allclose(best[name], tensor, atol=1e-9)


@pytest.mark.parametrize("die_in", [1, 3, 4])
def test_an_interrupted_average_goes_on_bit_for_bit(die_in: int, tmp_path: Path) -> None:
    whole, _ = trainer(tmp_path / "a", ema_decay=0.9)
    whole.fit(fresh(), data(), seed=7)
    with pytest.raises(Killed):
        trainer(tmp_path / "b", ema_decay=0.9)[0].fit(fresh(), data(die_in=die_in), seed=7)
    continued, _ = trainer(tmp_path / "b", ema_decay=0.9)
    continued.fit(Net(), data(), seed=7)
    assert whole.average is not None
    assert continued.average is not None
    pairs = zip(weights(whole.average.network), weights(continued.average.network), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert whole.average.steps == continued.average.steps
