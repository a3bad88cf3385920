"""What the runtime asks of the machine."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from saltern import runtime
from saltern.config import TrainerConfig
from saltern.runtime.hardware import choose_kernels

FAULTS = """
import resource, sys, torch
from saltern.config import TrainerConfig
from saltern import runtime

def faults_of(step):
    for _ in range(10):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

work = lambda: [torch.ones(10_000_000) for _ in range(2)]  # two blocks of 40 MB at once
before = faults_of(work)
runtime.start(TrainerConfig(accelerator="cpu"))
print(before, faults_of(work))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_cpu_run_keeps_the_memory_that_a_step_frees() -> None:
    """80 MB are 19,531 pages of 4 KiB, or 40 of 2 MiB where the system gives large ones."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before >= 40
    assert after < before / 10


@pytest.fixture
def backends() -> Iterator[None]:
    """CUDA's switches, which can be set without CUDA, as they were."""
    before = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = before
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.cudnn.fp32_precision = "none"


@pytest.mark.parametrize(
    ("precision", "deterministic", "rounded"),
    [("fp32", False, "ieee"), ("bf16", False, "tf32"), ("fp16", False, "tf32"), ("bf16", True, "ieee")],
)
def test_fp32_is_rounded_to_tf32_only_beside_half_precision(
    precision: str, deterministic: bool, rounded: str, backends: None
) -> None:
    choose_kernels(precision, deterministic=deterministic)
    assert torch.backends.cuda.matmul.fp32_precision == rounded
    assert torch.backends.cudnn.conv.fp32_precision == rounded
    assert torch.backends.cudnn.benchmark is not deterministic


def test_cudnn_tries_nothing_out_where_sizes_vary(backends: None) -> None:
    here = runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))
    torch.backends.cudnn.benchmark = True
    with here.evaluating(sizes_vary=True):
        assert not torch.backends.cudnn.benchmark
    with here.evaluating(sizes_vary=False):
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark


def test_fused_optimizers_stand_back_where_fp16_gradients_are_clipped() -> None:
    here = runtime.start(TrainerConfig(accelerator="cpu", precision="fp32"))
    assert here.fuses(clips=True)
    scaler = torch.amp.GradScaler("cpu")
    plugin = MixedPrecision("16-mixed", device="cpu", scaler=scaler)
    scaled = runtime.Runtime(Fabric(accelerator="cpu", devices=1, plugins=[plugin]), "fp16")
    assert scaled.fuses(clips=False)
    assert not scaled.fuses(clips=True)
