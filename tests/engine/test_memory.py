"""Where memory runs out, one sentence says how much there was and what to change; any other error stays what it is."""

from pathlib import Path

import pytest
import torch
from fold_runs import Net, data, trainer
from torch import Tensor

from saltern import runtime
from saltern.config import TrainerConfig
from saltern.engine.soundness import freeze_idle
from saltern.errors import RunError, TrainingError
from saltern.inference.predict import Predictor, Seeing
from saltern.inference.tta import build_views
from saltern.runtime import memory
from saltern.runtime.memory import EVALUATION, TRAINING, Memory, enough_memory, ran_out

CPU_SAYS = (
    "[enforce fail at alloc_cpu.cpp:128] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "8796093022208 bytes. Error code 12 (Cannot allocate memory)"
)
SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError(CPU_SAYS),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
]


class Hungry(Net):
    """Raises what it is given, in training or in evaluation."""

    def __init__(self, error: Exception, *, in_training: bool) -> None:
        super().__init__()
        self.error, self.in_training = error, in_training

    def logits(self, image: Tensor) -> Tensor:
        if self.training == self.in_training:
            raise self.error
        return super().logits(image)


def on_cpu() -> runtime.Runtime:
    return runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))


def test_torch_itself_is_understood() -> None:
    """Not a text that we made up: more than any address space holds."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46, dtype=torch.float64)
    assert ran_out(caught.value)


@pytest.mark.parametrize("error", SHORT, ids=lambda error: str(error)[:20])
def test_a_step_without_memory_says_batch_size_memory_and_what_to_change(error: Exception, tmp_path: Path) -> None:
    engine, _ = trainer(tmp_path)
    with pytest.raises(TrainingError) as caught:
        engine.fit(Hungry(error, in_training=True), data(batch_size=6), seed=0)
    text = str(caught.value)
    assert "epoch 1 (warm_up): the memory of cpu does not hold a batch of 6 images of 8 x 8 (peak " in text
    for key in ("trainer.batch_size", "trainer.accumulate", "dataset.train_crop", "trainer.checkpointing=true"):
        assert key in text
    assert caught.value.__cause__ is error


def test_validation_without_memory_names_what_evaluation_may_change() -> None:
    network = Hungry(MemoryError(), in_training=False)
    predictor = Predictor(on_cpu(), [network], Seeing(build_views(["identity"])))
    with pytest.raises(
        RunError, match=r"predicting: the memory of cpu does not hold a batch of 3 images of 8 x 16"
    ) as e:
        predictor(torch.zeros(3, 3, 8, 16, dtype=torch.uint8))
    for key in ("trainer.eval_batch_size", "inference.networks_at_once"):
        assert key in str(e.value)


def test_the_trial_step_without_memory_says_so() -> None:
    with pytest.raises(TrainingError, match="the trial step: the memory of cpu does not hold a batch of 2 images"):
        freeze_idle(Hungry(MemoryError(), in_training=True), (8, 8), on_cpu())


@pytest.mark.parametrize("error", [RuntimeError("shapes do not fit"), KeyError("a bug"), TrainingError("not finite")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, enough_memory(TRAINING, torch.device("cpu"), "here", (1, 3, 8, 8)):
        raise error
    assert caught.value is error


def test_a_gpus_numbers_are_those_of_its_allocator_and_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = {
        "mem_get_info": (300 << 20, 8000 << 20),
        "memory_reserved": 900 << 20,
        "memory_allocated": 700 << 20,
        "max_memory_allocated": 7500 << 20,
    }
    for name, value in numbers.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    device = torch.device("cuda:1")
    assert Memory.of(device) == Memory(7500 << 20, 500 << 20, 8000 << 20)
    with pytest.raises(RunError) as caught, enough_memory(EVALUATION, device, "predicting", (32, 3, 512, 640)):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    assert "the memory of cuda:1 does not hold a batch of 32 images of 512 x 640" in str(caught.value)
    assert "(peak 7,500 MiB, 500 of 8,000 MiB free)" in str(caught.value)


def test_a_container_may_have_less_than_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, cpu = tmp_path / "meminfo", torch.device("cpu")
    meminfo.write_text("MemTotal:       16000 kB\nMemFree:    10 kB\nMemAvailable:   12000 kB\nHugePages_Total:   0\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert (Memory.of(cpu).free, Memory.of(cpu).total) == (12000 << 10, 16000 << 10)
    files = {
        "memory.max": f"{4000 << 10}\n",
        "memory.current": f"{3000 << 10}\n",
        "memory.stat": "inactive_file 1024\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert (Memory.of(cpu).free, Memory.of(cpu).total) == ((1000 << 10) + 1024, 4000 << 10)
    (tmp_path / "memory.max").write_text("max\n")
    assert Memory.of(cpu).free == 12000 << 10
