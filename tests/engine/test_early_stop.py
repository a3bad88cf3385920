"""Training that ends before its schedule: by scores, by hours; resumed, it ends as it would have had."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fold_runs import Killed, Net, data, fresh, phases, trainer, weights
from torch import nn

from saltern import runtime
from saltern.config import ConfigError, PhaseConfig, ScheduleConfig, TrainerConfig, compose_config
from saltern.config.training import OptimConfig
from saltern.engine import ending
from saltern.engine.checkpoint import load_checkpoint
from saltern.engine.ending import best_epochs
from saltern.engine.fold_data import FoldData
from saltern.engine.recipe import Recipe
from saltern.engine.timing import require_an_epoch, seconds_per_epoch
from saltern.engine.trainer import Trainer
from saltern.models.trained import load_weights
from saltern.runs import FoldDir

SCORES = [0.5, 0.6, 0.6, 0.55, 0.4, 0.7, 0.6, 0.8, 0.1, 0.2, 0.3]
"""Best in epoch 2; from epoch 5 on, where two epochs in a row were not better, the second phase: best in epoch 8."""


def _scored(scores: list[float], engine: Trainer, **settings: Any) -> FoldData:
    """Data on which the n-th epoch of `engine` has the n-th score."""
    whole = data(**settings)
    return FoldData(whole.batches, whole.sizes, lambda network: {"precision_tgs": scores[engine.state.epoch]})


def _long() -> ScheduleConfig:
    schedule = phases(epochs=6)
    schedule.phases["warm_up"].epochs = 10
    return schedule


def _fit(folder: Path, model: nn.Module, die_in: int | None = None, **settings: Any) -> list[tuple[int, str]]:
    engine, log = trainer(folder, _long(), **settings)
    engine.fit(model, _scored(SCORES, engine, die_in=die_in), seed=3)
    return [row[:2] for row in log.rows]


def test_a_phase_ends_after_epochs_that_were_not_better_and_the_last_one_ends_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = _fit(tmp_path, fresh(), early_stop=2)
    assert rows == [(epoch, "warm_up") for epoch in (1, 2, 3, 4)] + [(epoch, "fine_tune") for epoch in range(5, 11)]
    state = load_checkpoint(FoldDir(tmp_path).last)[0]
    assert state.ended == {"warm_up": 4}, "the second phase had 6 epochs, which are all that it may have"
    assert (state.best_epoch, state.ended_by) == (8, None)
    assert "warm_up ends after 4 of its 10 epochs, with epoch 4, since trainer.early_stop=2" in caplog.text
    assert "not better than epoch 2 (precision_tgs 0.6000); the next phase begins" in caplog.text


def test_the_end_of_the_last_phase_is_the_end_of_training(tmp_path: Path) -> None:
    schedule = ScheduleConfig(phases={"only": PhaseConfig(epochs=9, loss={"bce": 1.0}, lr=0.1)})
    engine, log = trainer(tmp_path, schedule, early_stop=3)
    state = engine.fit(fresh(), _scored(SCORES, engine), seed=0)
    assert len(log.rows) == 5
    assert (state.ended, state.ended_by) == ({"only": 5}, "early_stop")
    assert FoldDir(tmp_path).best.exists()
    again, log = trainer(tmp_path, schedule)
    again.fit(Net(), data(die_in=0), seed=0)
    assert log.rows == [], "what ended early stays so, even without the key"


@pytest.mark.parametrize("die_in", [1, 3, 4, 5, 8])
def test_interrupted_and_continued_ends_where_it_would_have_bit_for_bit(die_in: int, tmp_path: Path) -> None:
    """Epoch 4, from 0, is the first of the second phase, which starts from the best weights."""
    straight, continued = fresh(), Net()
    _fit(tmp_path / "a", straight, early_stop=2, ema_decay=0.9)
    with pytest.raises(Killed):
        _fit(tmp_path / "b", fresh(), die_in, early_stop=2, ema_decay=0.9)
    rows = _fit(tmp_path / "b", continued, early_stop=2, ema_decay=0.9)
    assert [row[0] for row in rows] == list(range(die_in + 1, 11))
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    first, second = (load_checkpoint(FoldDir(tmp_path / name).last)[0] for name in "ab")
    assert first == second


def test_the_best_epochs_of_phases_are_the_first_with_the_highest_score() -> None:
    assert best_epochs({"a": 3, "b": 0, "c": 4}, [0.1, 0.5, 0.5, 0.2, 0.1]) == {"a": 2, "c": 4}
    assert best_epochs({"a": 3}, []) == {}


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(ending, "time", found)
    return found


def _timed(clock: Clock, seconds: Callable[[], float], die_in: int | None = None) -> FoldData:
    """Data whose validation takes `seconds`, by `clock`; all else takes none."""
    whole = data(die_in=die_in)

    def validate(network: nn.Module) -> dict[str, float]:
        clock.now += seconds()
        return whole.validate(network)

    return FoldData(whole.batches, whole.sizes, validate)


def test_training_ends_before_an_epoch_that_may_not_fit(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Epochs of 10, 30, 10 s: after 40 s another of 30 s fits into 72 s, after 50 s it does not."""
    engine, log = trainer(tmp_path, max_hours=0.02)
    lengths = iter([10.0, 30.0, 10.0])
    state = engine.fit(fresh(), _timed(clock, lambda: next(lengths)), seed=0)
    assert (len(log.rows), state.seconds, state.longest) == (3, 50.0, 30.0)
    assert (state.ended, state.ended_by) == ({"warm_up": 3, "fine_tune": 0}, "max_hours")
    assert "training ends after 3 of 5 epochs" in caplog.text
    assert FoldDir(tmp_path).best.exists()
    again, log = trainer(tmp_path, max_hours=1.0)
    again.fit(Net(), data(die_in=0), seed=0)
    assert log.rows == [], "more hours do not take up what is complete"


def test_hours_are_counted_over_interruptions(clock: Clock, tmp_path: Path) -> None:
    engine, _ = trainer(tmp_path, max_hours=0.01)
    with pytest.raises(Killed):
        engine.fit(fresh(), _timed(clock, lambda: 11.0, die_in=1), seed=0)
    clock.now += 1e6  # the power was off
    engine, log = trainer(tmp_path, max_hours=0.01)
    state = engine.fit(Net(), _timed(clock, lambda: 11.0), seed=0)
    assert ([row[0] for row in log.rows], state.seconds, state.ended_by) == ([2, 3], 33.0, "max_hours")


def test_fewer_hours_than_an_interrupted_training_has_had_end_it_at_once(clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trainer(tmp_path)[0].fit(fresh(), _timed(clock, lambda: 11.0, die_in=2), seed=0)
    engine, log = trainer(tmp_path, max_hours=0.005)
    state = engine.fit(Net(), _timed(clock, lambda: 11.0), seed=0)
    assert (log.rows, state.epoch, state.ended_by) == ([], 2, "max_hours")
    assert FoldDir(tmp_path).best.exists()


def test_hours_that_hold_no_epoch_are_refused_with_both_times() -> None:
    recipe = Recipe(phases(), OptimConfig(name="sgd"), TrainerConfig(max_hours=1e-9))
    network, engine = fresh(), runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))
    before, random = weights(network), torch.random.get_rng_state()
    with pytest.raises(ConfigError, match=r"trainer\.max_hours=1e-09: .* takes about [\d.e-]+ hours here"):
        require_an_epoch(network, data(), recipe, engine)
    assert all(torch.equal(*pair) for pair in zip(before, weights(network), strict=True))
    assert torch.equal(random, torch.random.get_rng_state())
    recipe.trainer.max_hours = 1.0
    require_an_epoch(network, data(), recipe, engine)


def test_the_time_of_an_epoch_is_that_of_its_images() -> None:
    """Every batch of 2 of 12 images takes 20 ms or a little more, so an epoch 0.12 s or a little more."""
    whole = data(batch_size=2)

    class Slow(Net):
        def forward(self, image: torch.Tensor) -> Any:
            time.sleep(0.02)
            return super().forward(image)

    recipe = Recipe(phases(), OptimConfig(name="sgd"), TrainerConfig(max_hours=1.0))
    engine = runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))
    found = seconds_per_epoch(Slow(), whole, recipe, engine)
    assert 0.12 <= found < 1.2


@pytest.mark.parametrize("ema_decay", [None, 0.8])
def test_without_scores_the_last_weights_are_kept_and_stand_for_the_best(
    ema_decay: float | None, tmp_path: Path
) -> None:
    """The second phase has a learning rate of nothing, so it ends with the weights it began from."""
    schedule = phases(lr=1e-12, lr_policy="constant")
    engine, log = trainer(tmp_path, schedule, ema_decay=ema_decay, early_stop=1)
    whole, model = data(), fresh()
    seen: list[list[torch.Tensor]] = []

    def validate(network: nn.Module) -> dict[str, float]:
        seen.append(weights(network))
        return {}

    state = engine.fit(model, FoldData(whole.batches, whole.sizes, validate), seed=0)
    fold = FoldDir(tmp_path)
    assert (state.best_score, state.best_epoch, state.history, state.epoch) == (None, None, [], 5)
    assert not any(name.startswith("val_") for row in log.rows for name in row[2])
    assert fold.weights() == [fold.last_weights]
    assert not fold.best.exists()
    kept = Net()
    load_weights(fold.last_weights, kept)
    assert all(torch.equal(*pair) for pair in zip(weights(kept), seen[-1], strict=True))
    assert all(torch.allclose(*pair, atol=1e-9) for pair in zip(weights(model), seen[2], strict=True))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.early_stop=0"], "trainer.early_stop=0: expected null or at least 1 epoch"),
        (["trainer.max_hours=-1"], "trainer.max_hours=-1.0: expected null or a positive number"),
        (["trainer.max_hours=nan"], "trainer.max_hours=nan: expected null or a positive number"),
        (
            [
                "trainer.early_stop=3",
                "schedule.phases.fine_tune.lr_policy=cosine_restarts",
                "schedule.phases.fine_tune.snapshots=true",
            ],
            "trainer.early_stop=3: schedule.phases.fine_tune keeps snapshots",
        ),
    ],
)
def test_what_cannot_end_training_is_refused_by_name(overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose_config("run", overrides)
    assert told in str(refused.value)
