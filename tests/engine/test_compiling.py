"""`trainer.compile`: the same training by a compiled network, and a warning where there is no compiler."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from fold_runs import Net, data, phases, trainer, weights
from torch import Tensor, nn

from saltern import runtime
from saltern.config import TrainerConfig
from saltern.engine import compiling
from saltern.engine.compiling import compile_network
from saltern.engine.ema import AveragedWeights
from saltern.errors import TrainingError

CONFIG = TrainerConfig(accelerator="cpu", precision="fp32", batch_size=5, compile=True)


class Normed(Net):
    """With running statistics and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def logits(self, image: Tensor) -> Tensor:
        return self.norm(super().logits(image))


def fresh() -> Normed:
    torch.manual_seed(0)
    return Normed()


def graphs(monkeypatch: pytest.MonkeyPatch, backend: Callable[..., Any] | None = None) -> list[int]:
    """Let `aot_eager` compile, which traces forward and backward but needs no compiler; gives the graphs so far."""
    made: list[int] = []

    def counting(graph: Any, inputs: Any) -> Any:
        made.append(len(made))
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(compiling, "BACKEND", backend or counting)
    return made


def test_compiled_training_is_the_same_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 images in batches of 5: two whole ones and a rest; running statistics and averaged weights."""
    made = graphs(monkeypatch)
    outcomes = {}
    for compiles in (False, True):
        network = fresh()
        network.drop.p = 0.0  # a compiler draws other random numbers
        keys = list(network.state_dict())
        if compiles:
            here = runtime.start(CONFIG)
            assert compile_network(here.place(network, channels_last=True), (8, 8), CONFIG, here)
            assert list(network.state_dict()) == keys
        # Adam would make whole steps of the rounding errors that are the gradient of a bias before a norm
        engine, _ = trainer(tmp_path / str(compiles), phases(), "sgd", ema_decay=0.9)
        outcomes[compiles] = (engine.fit(network, data(batch_size=5), seed=0), weights(network))
    assert len(made) == 1, "neither the rest of an epoch nor validation is compiled"
    assert outcomes[True][0].step == outcomes[False][0].step == 15
    assert outcomes[True][0].history == pytest.approx(outcomes[False][0].history, abs=1e-4)
    for compiled, plain in zip(outcomes[True][1], outcomes[False][1], strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)


def test_the_trial_leaves_no_trace_and_copies_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    made = graphs(monkeypatch)
    network = fresh().eval()
    before, random = weights(network), torch.get_rng_state()
    assert compile_network(network, (8, 8), CONFIG, runtime.start(CONFIG))
    assert len(made) == 1
    assert torch.equal(torch.get_rng_state(), random)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(*pair) for pair in zip(before, weights(network), strict=True))
    for copy in (deepcopy(network), AveragedWeights(network, 0.9).network):
        copy.train()(torch.zeros(5, 3, 16, 16, dtype=torch.uint8))
    assert len(made) == 1


def test_where_it_cannot_be_compiled_it_is_trained_as_it_is_and_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_compiler(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("No working C++ compiler found in torch._inductor.config.cpp.cxx")

    graphs(monkeypatch, no_compiler)
    network = fresh()
    before = weights(network)
    assert not compile_network(network, (8, 8), CONFIG, runtime.start(CONFIG))
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "trainer.compile=true: this network is trained without" in told
    assert "No working C++ compiler found" in told
    assert all(torch.equal(*pair) for pair in zip(before, weights(network), strict=True))
    outcomes = []
    for name, one in (("tried", network), ("plain", fresh())):
        engine, _ = trainer(tmp_path / name)
        engine.fit(one, data(batch_size=5), seed=0)
        outcomes.append(weights(one))
    assert all(torch.equal(*pair) for pair in zip(*outcomes, strict=True))


def test_where_another_process_cannot_this_one_goes_without_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = graphs(monkeypatch)
    here = runtime.start(CONFIG)
    monkeypatch.setattr(here.group, "smallest", lambda value: 0)
    network = fresh()
    assert not compile_network(network, (8, 8), CONFIG, here)
    assert "another process cannot compile it" in caplog.text
    network(torch.zeros(5, 3, 24, 8, dtype=torch.uint8))
    assert len(made) == 1, "that of the trial"


def test_memory_that_runs_out_is_no_fault_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(graph: Any, inputs: Any) -> Any:
        return lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory"))

    graphs(monkeypatch, hungry)
    with pytest.raises(TrainingError, match=r"the trial step of trainer\.compile: the memory of cpu does not hold"):
        compile_network(fresh(), (8, 8), CONFIG, runtime.start(CONFIG))
