"""The loop learns, stops on bad numbers, and an interrupted run gives what it would have given without."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fold_runs import Killed, Log, Net, data, fresh, phases, pixels, trainer, weights
from safetensors.torch import load_file
from torch import Tensor, nn

from saltern import runtime
from saltern.config import OptimConfig, PhaseConfig, ScheduleConfig, TrainerConfig
from saltern.engine.checkpoint import load_checkpoint, save_checkpoint
from saltern.engine.fold_data import FoldData, Micro
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.errors import RunError, TrainingError
from saltern.models.trained import load_weights, save_weights
from saltern.progress import Progress
from saltern.runs import FoldDir


def test_training_learns_and_keeps_the_best(tmp_path: Path) -> None:
    engine, log = trainer(tmp_path)
    state = engine.fit(fresh(), data(), seed=0)
    scores = [row[2]["val_precision_tgs"] for row in log.rows]
    assert [row[:2] for row in log.rows] == [
        (1, "warm_up"),
        (2, "warm_up"),
        (3, "warm_up"),
        (4, "fine_tune"),
        (5, "fine_tune"),
    ]
    assert scores[-1] > 0.95
    assert state.best_score == max(scores)
    assert state.best_epoch == scores.index(max(scores)) + 1
    assert state.phase_best == {"warm_up": max(scores[:3]), "fine_tune": max(scores[3:])}
    assert {"loss", "loss_bce", "loss_lovasz_hinge", "lr", "images_per_s"} <= set(log.rows[-1][2])
    best = Net()
    load_weights(FoldDir(tmp_path).best, best)
    assert data().validate(best)["precision_tgs"] == pytest.approx(state.best_score)


@pytest.mark.parametrize("die_in", [1, 2, 3, 4])
def test_interrupted_and_continued_equals_straight_through_bit_for_bit(die_in: int, tmp_path: Path) -> None:
    """Epoch 3 is the first of the second phase, which starts from the best weights."""
    straight = fresh()
    trainer(tmp_path / "a")[0].fit(straight, data(), seed=7)

    with pytest.raises(Killed):
        trainer(tmp_path / "b")[0].fit(fresh(), data(die_in=die_in), seed=7)
    torch.manual_seed(99)
    continued = Net()
    engine, log = trainer(tmp_path / "b")
    engine.fit(continued, data(), seed=7)

    assert [row[0] for row in log.rows] == list(range(die_in + 1, 6))
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    first, second = (load_checkpoint(FoldDir(tmp_path / name).last)[0] for name in "ab")
    assert first == second, "but for the time they took"


def test_a_finished_fold_is_not_trained_again(tmp_path: Path) -> None:
    trainer(tmp_path)[0].fit(fresh(), data(), seed=0)
    engine, log = trainer(tmp_path)
    engine.fit(fresh(), data(die_in=0), seed=0)
    assert log.rows == []


def test_the_second_phase_starts_from_the_best_weights(tmp_path: Path) -> None:
    engine, _ = trainer(tmp_path, phases(lr=1e-12, lr_policy="constant"))
    model = fresh()
    engine.fit(model, data(), seed=0)
    best = load_file(FoldDir(tmp_path).best)
    assert all(torch.allclose(best[name], tensor, atol=1e-9) for name, tensor in model.state_dict().items())


def test_accumulated_batches_give_the_step_of_one_large_batch(tmp_path: Path) -> None:
    one_phase = ScheduleConfig(phases={"only": PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=0.05)})
    models = []
    for batch_size, accumulate in ((12, 1), (4, 3)):
        model = fresh()
        model.drop.p = 0.0
        engine, _ = trainer(tmp_path / str(batch_size), one_phase, "sgd", accumulate=accumulate)
        state = engine.fit(model, data(batch_size), seed=0)
        assert state.step == 1
        models.append(weights(model))
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(*models, strict=True))


def test_a_batch_counts_by_its_images_and_the_last_step_has_what_is_left() -> None:
    sizes = [4, 4, 4, 4, 1]
    found = [(Micro(index, sizes, 3).updates, Micro(index, sizes, 3).share) for index in range(5)]
    assert found == [(False, 1 / 3), (False, 1 / 3), (True, 1 / 3), (False, 0.8), (True, 0.2)]


def test_a_short_last_batch_gives_the_step_of_one_large_batch(tmp_path: Path) -> None:
    """12 images as 5 + 5 + 2, where every pixel counts the same: bce of all is the image-weighted mean."""
    one_phase = ScheduleConfig(phases={"only": PhaseConfig(epochs=1, loss={"bce": 1.0}, lr=0.05)})
    models = []
    for batch_size, accumulate in ((12, 1), (5, 3)):
        model = fresh()
        model.drop.p = 0.0
        engine, _ = trainer(tmp_path / str(batch_size), one_phase, "sgd", accumulate=accumulate)
        engine.fit(model, data(batch_size), seed=0)
        models.append(weights(model))
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(*models, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_epoch(value: float, tmp_path: Path) -> None:
    engine, log = trainer(tmp_path)
    whole = data()

    class Broken(Net):
        def logits(self, image: Tensor) -> Tensor:
            return super().logits(image) * (value if engine.state.epoch == 2 and self.training else 1.0)

    torch.manual_seed(0)
    with pytest.raises(TrainingError, match=r"epoch 3 \(warm_up\).*loss is.*lower the phase's lr"):
        engine.fit(Broken(), whole, seed=0)
    assert len(log.rows) == 2
    assert load_checkpoint(FoldDir(tmp_path).last)[0].epoch == 2


def test_a_score_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="val_precision_tgs is nan"):
        trainer(tmp_path)[0].fit(fresh(), data(poison=float("nan")), seed=0)


def test_snapshots_are_kept_at_the_end_of_each_cycle(tmp_path: Path) -> None:
    schedule = phases(epochs=4, lr_policy="cosine_restarts", cycles=2, snapshots=True)
    trainer(tmp_path, schedule)[0].fit(fresh(), data(), seed=0)
    names = [path.name for path in FoldDir(tmp_path).weights()]
    assert names == ["snapshot_fine_tune_0.safetensors", "snapshot_fine_tune_1.safetensors"]


def test_best_weights_are_a_copy_not_an_alias(tmp_path: Path) -> None:
    """The first-place code kept `state_dict()` itself, so that its best model was its last."""
    model = fresh()
    save_weights(tmp_path / "best.safetensors", model)
    with torch.no_grad():
        model.conv.weight.zero_()
    assert float(load_file(tmp_path / "best.safetensors")["conv.weight"].abs().sum()) > 0


def test_damaged_checkpoints_and_foreign_weights_are_named(tmp_path: Path) -> None:
    fold = FoldDir(tmp_path)
    fold.last.write_bytes(b"half a file")
    with pytest.raises(RunError, match=r"last\.ckpt: not readable"):
        trainer(tmp_path)[0].fit(fresh(), data(), seed=0)
    save_weights(fold.best, nn.Linear(2, 2))
    with pytest.raises(RunError, match="not the weights of this network"):
        load_weights(fold.best, Net())


def test_a_fold_may_go_on_in_another_precision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A checkpoint with a loss scale, continued where none is used: the scale is dropped, with a warning."""
    with pytest.raises(Killed):
        trainer(tmp_path)[0].fit(fresh(), data(die_in=1), seed=0)
    path = FoldDir(tmp_path).last
    state, parts = load_checkpoint(path)
    save_checkpoint(
        path, replace(state, precision="fp16"), {**parts, "precision": {"scale": 1024.0, "growth_factor": 2.0}}
    )
    engine, log = trainer(tmp_path)
    engine.fit(fresh(), data(), seed=0)
    assert [row[0] for row in log.rows] == [2, 3, 4, 5]
    assert "another precision, fp32 after fp16" in caplog.text


def test_golden_losses_of_five_seeded_steps(tmp_path: Path) -> None:
    """A refactor leaves these numbers as they are, or its commit says why."""
    schedule = ScheduleConfig(phases={"only": PhaseConfig(epochs=5, loss={"bce": 0.5, "lovasz_hinge": 0.5}, lr=0.05)})
    engine, log = trainer(tmp_path, schedule)
    engine.fit(fresh(), data(batch_size=12), seed=3)
    assert [row[2]["loss"] for row in log.rows] == pytest.approx(GOLDEN, abs=2e-4)


GOLDEN = [1.01, 0.9038, 0.9253, 0.8857, 0.8313]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32"])
def test_training_learns_on_a_gpu(precision: str, tmp_path: Path) -> None:
    config = TrainerConfig(accelerator="cuda", precision=precision)
    log = Log()
    optim = OptimConfig(name="adamw")
    whole = data()

    def validate(network: nn.Module) -> dict[str, float]:
        network.eval()
        images, targets = pixels(1000)
        with torch.no_grad():
            right = ((network(images.cuda()).logits.cpu() > 0) == targets.bool()).float().mean()
        return {"precision_tgs": float(right)}

    on_device = FoldData(whole.batches, whole.sizes, validate)
    keeper = Keeper(FoldDir(tmp_path))
    engine = Trainer(runtime.start(config), Recipe(phases(), optim, config), keeper, log, Progress())
    engine.fit(fresh(), on_device, seed=0)
    assert log.rows[-1][2]["val_precision_tgs"] > 0.9
