"""A trial step finds what cannot be trained; weights that are no numbers end the epoch before anything is written."""

import json
from pathlib import Path

import pytest
import torch
from fold_runs import Batch, Net, data, fresh, trainer, weights
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from saltern import runtime
from saltern.config import TrainerConfig
from saltern.engine.checkpoint import load_checkpoint
from saltern.engine.fold_data import FoldData
from saltern.engine.soundness import freeze_idle, not_finite
from saltern.errors import ConfigError, TrainingError
from saltern.runs import FoldDir


def on_cpu(**settings: object) -> runtime.Runtime:
    return runtime.start(TrainerConfig(accelerator="cpu", precision="fp32", **settings))  # type: ignore[arg-type]


class Idle(Net):
    """With a layer that the output does not depend on, and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.unused = nn.Linear(3, 3)

    def logits(self, image: Tensor) -> Tensor:
        return self.norm(super().logits(image))


def test_idle_parameters_are_frozen_and_nothing_else_is_touched() -> None:
    torch.manual_seed(0)
    network = Idle()
    before = weights(network)
    random = torch.get_rng_state()
    assert freeze_idle(network, (8, 8), on_cpu()) == ["unused.bias", "unused.weight"]
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(*pair) for pair in zip(before, weights(network), strict=True))
    assert [name for name, parameter in network.named_parameters() if not parameter.requires_grad] == [
        "unused.weight",
        "unused.bias",
    ]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_network_without_a_deterministic_gradient_is_refused_at_the_start() -> None:
    class Scatters(Net):
        def logits(self, image: Tensor) -> Tensor:
            logits = super().logits(image)
            return logits.put(
                torch.tensor([0]), logits.flatten()[:1]
            )  # torch has no deterministic one, on a CPU either

    try:
        with pytest.raises(ConfigError, match=r"trainer\.deterministic=true: this network cannot be trained so \(put_"):
            freeze_idle(Scatters(), (8, 8), on_cpu(deterministic=True))
    finally:
        torch.use_deterministic_algorithms(False)
    assert freeze_idle(Scatters(), (8, 8), on_cpu()) == []


def test_what_is_no_number_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Identity())
    assert not_finite([network]) == []
    with torch.no_grad():
        network[0].bias[1] = torch.nan
        network[1].running_var[0] = -torch.inf
        network[0].weight[0] = 1e30
    assert not_finite([network]) == ["0.bias", "1.running_var"]


def test_a_broken_last_step_of_an_epoch_is_found_before_anything_is_written(tmp_path: Path) -> None:
    """NaN > 0.5 is false, so validation would score such weights, and every resume would die of them."""
    whole = data()

    class Poisoned(Net):
        """Its gradient is NaN in the last step of the second epoch, with a loss that is finite."""

        def logits(self, image: Tensor) -> Tensor:
            logits = super().logits(image)
            if self.training and engine.state.epoch == 1 and engine.state.step == 5:
                logits.register_hook(lambda gradient: gradient * torch.nan)
            return logits

    engine, log = trainer(tmp_path, clip_grad_norm=None)
    torch.manual_seed(0)
    with pytest.raises(TrainingError, match=r"epoch 2 \(warm_up\): 2 weights are not finite, such as conv\.weight"):
        engine.fit(Poisoned(), whole, seed=0)
    assert [row[0] for row in log.rows] == [1]
    state, parts = load_checkpoint(FoldDir(tmp_path).last)
    assert state.epoch == 1
    assert all(tensor.isfinite().all() for tensor in parts["model"].values())
    again, more = trainer(tmp_path)
    again.fit(fresh(), data(), seed=0)
    assert [row[0] for row in more.rows] == [2, 3, 4, 5], "it goes on from there"


def test_a_loss_that_is_not_finite_names_term_step_and_images_and_keeps_the_batch(tmp_path: Path) -> None:
    whole = data()

    class Overflows(Net):
        def logits(self, image: Tensor) -> Tensor:
            logits = super().logits(image)
            return logits * torch.inf if self.training and engine.state.step == 4 else logits

    def batches(epoch: int, sampling: float | None = None) -> list[Batch]:
        return list(whole.batches(epoch, sampling))  # type: ignore[arg-type]

    engine, _ = trainer(tmp_path)
    told = r"epoch 2 \(warm_up\), step 2: the loss is \S+ \(bce \S+\) for the images 4, 5, 6, 7; the batch is saved as"
    with pytest.raises(TrainingError, match=told):
        engine.fit(Overflows(), FoldData(batches, whole.sizes, whole.validate), seed=0)
    path = FoldDir(tmp_path).broken_batch(0)
    kept, right = load_file(path), batches(1)[1]
    assert torch.equal(kept["images"], right.images)
    assert torch.equal(kept["targets"], right.targets)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["ids"]) == ["4", "5", "6", "7"]
