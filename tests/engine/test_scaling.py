"""fp16's loss scaling through the whole trainer, with a real scaler on the CPU: a skipped step moves nothing."""

from pathlib import Path

import pytest
import torch
from fold_runs import IMAGES, Killed, Log, Net, data, fresh, phases, weights
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from torch import Tensor, nn

from saltern.config import OptimConfig, TrainerConfig
from saltern.engine.checkpoint import load_checkpoint
from saltern.engine.fold_data import FoldData
from saltern.engine.keeper import Keeper
from saltern.engine.recipe import Recipe
from saltern.engine.trainer import Trainer
from saltern.errors import TrainingError
from saltern.progress import Progress
from saltern.runs import FoldDir
from saltern.runtime import Runtime

SCALE = 2.0**14


class Cpu16(Runtime):
    """fp16 on a CPU, which `runtime.start` refuses as useless."""

    def fresh_scaler(self) -> None:
        """Keep the scaler that the test has set."""


def fp16_trainer(folder: Path, log: Log, clip: float | None = 1.0) -> Trainer:
    scaler = torch.amp.GradScaler("cpu", init_scale=SCALE, growth_interval=4)
    plugin = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    config = TrainerConfig(accelerator="cpu", ema_decay=0.9, clip_grad_norm=clip, channels_last=False)
    runtime = Cpu16(Fabric(accelerator="cpu", devices=1, plugins=[plugin]), "fp16")
    optim = OptimConfig(name="adamw", weight_decay=0.01)
    return Trainer(runtime, Recipe(phases(), optim, config), Keeper(FoldDir(folder)), log, Progress())


class Overflows(Net):
    """Its gradient overflows in the batches whose numbers are given, counted over all epochs."""

    def __init__(self, batches: tuple[int, ...]) -> None:
        super().__init__()
        self.batches = batches
        self.seen = 0

    def logits(self, image: Tensor) -> Tensor:
        logits = super().logits(image)
        if self.training and torch.is_grad_enabled():
            if self.seen in self.batches:
                logits.register_hook(lambda gradient: gradient * torch.inf)
            self.seen += 1
        return logits


@pytest.mark.parametrize("clip", [1.0, None])
def test_an_overflow_skips_the_step_and_neither_count_nor_average_moves(clip: float | None, tmp_path: Path) -> None:
    log = Log()
    engine = fp16_trainer(tmp_path, log, clip)
    torch.manual_seed(0)
    network = Overflows((1, 3))
    state = engine.fit(network, data(), seed=0)
    batches = 5 * IMAGES // 4
    assert network.seen == batches
    assert state.step == batches - 2
    assert engine.average is not None
    scaler = engine.runtime.fabric.strategy.precision.scaler  # type: ignore[attr-defined]
    assert scaler.get_scale() == SCALE / 4 * 2 ** ((batches - 4) // 4), "halved twice, then doubled after each four"
    assert all(tensor.isfinite().all() for tensor in weights(network))


def test_an_epoch_in_which_no_weight_moved_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the gradients of every step overflowed in fp16"):
        fp16_trainer(tmp_path, Log()).fit(Overflows((0, 1, 2)), data(), seed=0)


def test_the_scale_survives_a_resume(tmp_path: Path) -> None:
    straight, continued = fresh(), Net()
    fp16_trainer(tmp_path / "a", Log()).fit(straight, data(), seed=7)
    with pytest.raises(Killed):
        fp16_trainer(tmp_path / "b", Log()).fit(fresh(), data(die_in=4), seed=7)
    _, parts = load_checkpoint(FoldDir(tmp_path / "b").last)
    assert parts["precision"]["scale"] == SCALE * 2 ** (4 * 3 // 4)
    engine = fp16_trainer(tmp_path / "b", Log())
    engine.fit(continued, data(), seed=7)
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))


def test_the_loss_is_computed_in_fp32_and_training_learns(tmp_path: Path) -> None:
    log, whole = Log(), data()
    seen: list[torch.dtype] = []

    class Spy(Net):
        def logits(self, image: Tensor) -> Tensor:
            logits = super().logits(image)
            seen.append(logits.dtype)
            return logits

    def validate(network: nn.Module) -> dict[str, float]:
        return whole.validate(network)

    torch.manual_seed(0)
    fp16_trainer(tmp_path, log).fit(Spy(), FoldData(whole.batches, whole.sizes, validate), seed=0)
    assert torch.float16 in seen
    assert log.rows[-1][2]["val_precision_tgs"] > 0.95
