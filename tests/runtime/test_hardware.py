"""What the runtime asks of the machine."""

import subprocess
import sys

import pytest

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
