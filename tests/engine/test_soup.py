"""Which weights a fold keeps: those of the last epoch, or a mean of several whose statistics are estimated anew."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from fold_runs import Batch, Killed, Net, data, fresh, phases, pixels, trainer, weights
from safetensors.torch import load_file
from test_phases_freeze import Coded, coded, moved, schedule
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from saltern import runtime
from saltern.config import PhaseConfig, TrainerConfig
from saltern.engine.checkpoint import TrainState, load_checkpoint
from saltern.engine.soup import chosen, estimate_statistics, mean_of
from saltern.errors import RunError
from saltern.runs import FoldDir

KEEP = {"keep": "average", "soup_epochs": 3}
PHASE = PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=0.1)


def config(of: str = "best", epochs: int = 2) -> TrainerConfig:
    return TrainerConfig(keep="average", soup_of=of, soup_epochs=epochs)


def batches(number: int = 3) -> list[Batch]:
    return [Batch(*pixels(epoch), ("a",) * 12) for epoch in range(number)]


def test_the_mean_is_that_of_every_weight_and_counters_are_the_last_ones() -> None:
    first = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    second = {"w": torch.tensor([2.0, 6.0]), "n": torch.tensor(7)}
    third = {"w": torch.tensor([6.0, 1.0]), "n": torch.tensor(9)}
    found = mean_of(iter([first, second, third]))
    assert torch.equal(found["w"], torch.tensor([3.0, 3.0]))
    assert found["w"].dtype == torch.float32
    assert int(found["n"]) == 9


@pytest.mark.parametrize("of", ["best", "last"])
def test_what_is_kept_at_every_epoch_is_enough_for_the_end(of: str) -> None:
    """Epochs 4 to 9 with a tie: the two best are 5 and 7, since of 7 and 8 the earlier counts; the last are 8 and 9."""
    scores = [0.1, 0.9, 0.3, 0.7, 0.7, 0.2]
    kept: set[int] = set()
    for number in range(1, len(scores) + 1):
        wanted = set(chosen(scores[:number], 4, config(of)))
        assert wanted <= kept | {3 + number}
        kept = wanted
    assert kept == ({5, 7} if of == "best" else {8, 9})
    assert chosen(scores[:1], 4, config(of)) == [4]
    assert chosen(scores, 4, TrainerConfig()) == []


def test_statistics_are_those_of_torchs_own_pass_over_the_same_batches() -> None:
    ours, theirs = (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    images = [Batch(batch.images.float(), batch.targets, batch.ids) for batch in batches()]
    estimate_statistics(ours, PHASE, images, runtime.start(TrainerConfig(accelerator="cpu", precision="fp32")))
    update_bn([batch.images for batch in images], theirs)
    assert moved(theirs, ours) == set()
    by_hand = torch.stack([theirs[0](batch.images).mean((0, 2, 3)) for batch in images]).mean(0)
    assert torch.allclose(ours[1].running_mean, by_hand, rtol=1e-5)
    assert ours[1].momentum == 0.1


@pytest.mark.parametrize(
    ("frozen", "estimated"),
    [({}, ["decoder", "encoder"]), ({"freeze_encoder": True}, ["decoder"]), ({"freeze_batchnorm": True}, [])],
)
def test_statistics_that_are_frozen_stay(frozen: dict[str, bool], estimated: list[str]) -> None:
    """The third norm is frozen by itself: torch's own pass would forget what it holds."""
    model = coded()
    model.encoder[3].running_mean.fill_(0.25)
    before = deepcopy(model)
    phase = PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=0.1, **frozen)
    estimate_statistics(model, phase, batches(), runtime.start(TrainerConfig(accelerator="cpu", precision="fp32")))
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert moved(before, model) == {f"{part}.1.{key}" for part in estimated for key in statistics}


def averaged(
    folder: Path, model: nn.Module, seed: int = 7, die_in: int | None = None, **settings: object
) -> TrainState:
    engine, _ = trainer(folder, schedule(a={}, b={}, c={}), **{**KEEP, **settings})
    return engine.fit(model, data(die_in=die_in), seed=seed)


def test_the_average_is_the_mean_of_the_last_phases_epochs_and_predicts(tmp_path: Path) -> None:
    """Net has no batch norm, so its average is the mean alone; the three epochs are fewer than asked for."""
    plan = phases(epochs=3, start_from="last")
    engine, log = trainer(tmp_path, plan, keep="average")
    seen: dict[int, dict[str, Tensor]] = {}
    whole, model = data(), fresh()
    validate = whole.validate

    def noted(network: nn.Module) -> dict[str, float]:
        seen[engine.state.epoch + 1] = deepcopy(network.state_dict())
        return validate(network)

    object.__setattr__(whole, "validate", noted)
    state = engine.fit(model, whole, seed=0)
    fold = FoldDir(tmp_path)
    assert fold.weights() == [fold.average]
    assert state.average_epochs == [4, 5, 6]
    found = load_file(fold.average)
    for name, tensor in found.items():
        mean = sum(seen[epoch][name].double() for epoch in (4, 5, 6)) / 3
        assert torch.equal(tensor, mean.float())
    average = Net()
    average.load_state_dict(found)
    assert state.average_score == data().validate(average)["precision_tgs"]
    assert state.best_score == max(row[2]["val_precision_tgs"] for row in log.rows)
    assert fold.best.exists()
    assert fold.epochs() == fold.bests() == []


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_last_weights_are_kept_and_predict(ema_decay: float | None, tmp_path: Path) -> None:
    engine, _ = trainer(tmp_path, keep="last", ema_decay=ema_decay)
    model = fresh()
    engine.fit(model, data(), seed=0)
    fold = FoldDir(tmp_path)
    judged = engine.average.network if engine.average else model
    assert fold.weights() == [fold.last_weights]
    assert fold.best.exists()
    kept = load_file(fold.last_weights)
    assert all(torch.equal(kept[name], tensor) for name, tensor in judged.state_dict().items())
    assert torch.equal(kept["conv.weight"], model.conv.weight) == (ema_decay is None)


@pytest.mark.parametrize("die_in", [1, 4, 5])
def test_an_interrupted_average_ends_bit_for_bit_the_same(die_in: int, tmp_path: Path) -> None:
    straight, continued = coded(), Coded()
    averaged(tmp_path / "a", straight, ema_decay=0.9)
    with pytest.raises(Killed):
        averaged(tmp_path / "b", coded(), die_in=die_in, ema_decay=0.9)
    averaged(tmp_path / "b", continued, ema_decay=0.9)
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    first, second = FoldDir(tmp_path / "a"), FoldDir(tmp_path / "b")
    assert load_checkpoint(first.last)[0] == load_checkpoint(second.last)[0]
    for name in ("average", "best"):
        assert getattr(first, name).read_bytes() == getattr(second, name).read_bytes()
    state = averaged(tmp_path / "b", Coded(), ema_decay=0.9)
    assert state.average_epochs == [5, 6]


def test_a_kept_epoch_that_is_gone_or_changed_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        averaged(tmp_path, coded(), die_in=1)
    kept = FoldDir(tmp_path).epochs()
    assert [path.name for path in kept] == ["epoch_00001.safetensors"]
    content = kept[0].read_bytes()
    kept[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=r"epoch_00001\.safetensors: was changed, but the checkpoint means it"):
        averaged(tmp_path, Coded())
    kept[0].unlink()
    with pytest.raises(RunError, match=r"epoch_00001\.safetensors: is gone, but the checkpoint means it"):
        averaged(tmp_path, Coded())
    kept[0].write_bytes(content)
    assert averaged(tmp_path, Coded()).average_epochs == [5, 6]
    FoldDir(tmp_path).average.unlink()
    with pytest.raises(RunError, match=r"average\.safetensors: is gone"):
        averaged(tmp_path, Coded())
