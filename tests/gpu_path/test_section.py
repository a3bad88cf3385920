"""`make test-gpu` names every benchmark, tells what failed, and answers where there is no GPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from section import ROOT, Outcome, commands, measure

from saltern.config import compose_config


def test_every_benchmark_the_tests_and_a_training_belong_to_it() -> None:
    called = [" ".join(command) for command in commands()]
    assert called[0] == "-m pytest -q -m gpu"
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert f"benchmarks/{path.name}" in called
    config = compose_config("run", list(commands()[-1][1:]))
    assert config.trainer.accelerator == "cuda"


def test_the_section_holds_what_was_printed_and_what_failed(tmp_path: Path) -> None:
    def stand_in(command: tuple[str, ...]) -> Outcome:
        failed = "losses" in command[0]
        return Outcome(" ".join(command), int(failed), f"printed by {command[0]}\n", 1.0)

    target = tmp_path / "outputs" / "section.md"
    assert measure("A GPU", target, stand_in) == 1
    text = target.read_text()
    assert "A GPU. Written by" in text
    assert "`benchmarks/losses.py`: FAILED with status 1" in text
    assert "`benchmarks/training.py`: passed" in text
    assert "printed by scripts/train.py" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so() -> None:
    script = Path(__file__).with_name("section.py")
    done = subprocess.run([sys.executable, str(script)], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "sees no CUDA device" in done.stderr
