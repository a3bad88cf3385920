"""`make test-gpu`: the tests marked `gpu`, every benchmark, one short training; gives a section for docs/results.md."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
TRAINING = (
    "scripts/train.py", "name=test_gpu", "overwrite=true", "model=unet_resnet34", "model.encoder_weights=null",
    "dataset.train=512", "dataset.side=101", "trainer.accelerator=cuda", "trainer.folds=[0]", "trainer.batch_size=32",
    "trainer.workers=4", "trainer.ema_decay=0.99", "schedule.phases.warm_up.epochs=4",
    "schedule.phases.fine_tune.epochs=2",
)  # fmt: skip
"""Drawn data of the real size: 101 x 101, padded to 128 x 128."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: str
    status: int
    said: str
    seconds: float


def commands() -> list[tuple[str, ...]]:
    """Everything that a GPU can show, in order."""
    benchmarks = sorted((ROOT / "benchmarks").glob("*.py"))
    return [
        ("-m", "pytest", "-q", "-m", "gpu"),
        *((str(path.relative_to(ROOT)),) for path in benchmarks),
        TRAINING,
    ]


def run(command: tuple[str, ...]) -> Outcome:
    """Run a command by this Python in the project's folder."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, *command], check=False, capture_output=True, text=True, cwd=ROOT)
    return Outcome(" ".join(command), done.returncode, done.stdout + done.stderr, time.monotonic() - began)


def section(machine: str, outcomes: list[Outcome], day: str) -> str:
    """The section: machine, then every command with what it printed last."""
    lines = [
        f"## On a GPU ({day})",
        "",
        f"{machine}. Written by `make test-gpu`; every command by `.venv/bin/python`.",
        "",
    ]
    for outcome in outcomes:
        verdict = "passed" if outcome.status == 0 else f"FAILED with status {outcome.status}"
        tail = "\n".join(outcome.said.strip().splitlines()[-25:])
        lines += [f"`{outcome.command}`: {verdict}, {outcome.seconds:.0f} s", "", "```", tail, "```", ""]
    return "\n".join(lines)


def measure(machine: str, target: Path, work: Callable[[tuple[str, ...]], Outcome] = run) -> int:
    """Do everything, write the section to `target`; the number of commands that failed."""
    outcomes = []
    for command in commands():
        outcomes.append(work(command))
        sys.stdout.write(f"{outcomes[-1].status} {outcomes[-1].command}\n")
        sys.stdout.flush()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(section(machine, outcomes, f"{datetime.now(UTC):%Y-%m-%d}"), encoding="utf-8")
    sys.stdout.write(f"{target}: paste this into docs/results.md\n")
    return sum(outcome.status != 0 for outcome in outcomes)


def main() -> int:
    """Exit status 2 where there is no GPU, 1 where something failed."""
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write("make test-gpu: torch sees no CUDA device here; run it on a machine that has one.\n")
        return 2
    device = torch.cuda.get_device_properties(0)
    machine = f"{device.name}, {device.total_memory >> 30} GiB, CUDA {torch.version.cuda}, torch {torch.__version__}"
    return min(1, measure(machine, ROOT / "outputs" / "gpu_section.md"))


if __name__ == "__main__":
    sys.exit(main())
