"""Forward and backward of the Lovász hinge, side by side with SMP's and with cross-entropy: `make bench`.

All losses see the same tensors in the same process. Repeats alternate between the losses, and the median is shown, so
that a busy machine slows all of them; the ratio of the fastest passes, beside that of the medians, says what remains on
a quiet one. Three states of a network are played:

    start         logits are standard normal, about half of the pixels wrong, nearly all within the margin
    half trained  90 % of the pixels right with a margin over 1
    well trained  98 % of the pixels right with a margin over 1
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from saltern.losses import lovasz_hinge

SHAPES = ((32, 1, 128, 128), (8, 1, 512, 512))
STATES = {"start": None, "half trained": 0.90, "well trained": 0.98}
Loss = Callable[[Tensor, Tensor], Tensor]


def main() -> int:
    """Print the machine and one table per device."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--threads", type=int, default=2, help="CPU threads of torch (2)")
    arguments.add_argument("--repeats", type=int, default=15, help="timed passes of every loss (15)")
    chosen = arguments.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"{_processor()}, {chosen.threads} threads, torch {torch.__version__}, smp {smp.__version__}, {date.today()}")
    print(f"median of {chosen.repeats} alternating repeats, forward + backward, float32\n")
    measure(torch.device("cpu"), chosen.repeats)
    if torch.cuda.is_available():
        print(f"\n{torch.cuda.get_device_name()}\n")
        measure(torch.device("cuda"), chosen.repeats)
    else:
        print("\nGPU: not measured, there is no CUDA device here.")
    return 0


def measure(device: torch.device, repeats: int) -> None:
    """Print a row for every shape and state, in milliseconds."""
    theirs = smp.losses.LovaszLoss("binary", per_image=True)
    losses: dict[str, Loss] = {
        "saltern": lovasz_hinge,
        "elu1": partial(lovasz_hinge, activation="elu1"),
        "symmetric": partial(lovasz_hinge, symmetric=True),
        "smp": theirs,
        "torch bce": binary_cross_entropy_with_logits,
    }
    columns = [*losses, "smp / saltern", "of the fastest", "saltern / bce", "value differs by"]
    print("| shape | state | " + " | ".join(columns) + " |")
    print("|---|---|" + "---:|" * len(columns))
    for shape in SHAPES:
        for state, right in STATES.items():
            logits, target = batch(shape, right, device)
            passes = _passes(losses, logits, target, repeats)
            times = {name: statistics.median(values) for name, values in passes.items()}
            ratio, fastest = times["smp"] / times["saltern"], min(passes["smp"]) / min(passes["saltern"])
            entropy = times["saltern"] / times["torch bce"]
            ours, other = lovasz_hinge(logits, target).item(), theirs(logits, target).item()
            cells = [f"{value:.2f}" for value in times.values()]
            cells += [f"{ratio:.1f}x", f"{fastest:.1f}x", f"{entropy:.1f}x", f"{abs(ours - other) / other:.0e}"]
            print(f"| {shape} | {state} | " + " | ".join(cells) + " |", flush=True)


def batch(shape: tuple[int, ...], right: float | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits and target (float32 in {0, 1}) whose foreground is a disc; `right` is the share with a margin over 1."""
    generator = torch.Generator().manual_seed(0)
    height, width = shape[-2:]
    rows, columns = torch.arange(height)[:, None] / height, torch.arange(width) / width
    centres = torch.rand(shape[0], 2, 1, 1, generator=generator)
    distance = ((rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2).sqrt()
    target = (distance < 0.35).float()[:, None]
    noise = torch.randn(shape, generator=generator)
    if right is None:
        return noise.to(device), target.to(device)
    outside = torch.rand(shape, generator=generator) >= right
    margins = torch.where(outside, 1 - noise.abs(), 1 + 2 * noise.abs() + 1e-3)
    return (margins * (2 * target - 1)).to(device), target.to(device)


def _passes(losses: dict[str, Loss], logits: Tensor, target: Tensor, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of every forward and backward pass after two to warm up."""
    times: dict[str, list[float]] = {name: [] for name in losses}
    for repeat in range(repeats + 2):
        for name, loss in losses.items():
            elapsed = _once(loss, logits, target)
            if repeat >= 2:
                times[name].append(1e3 * elapsed)
    return times


def _once(loss: Loss, logits: Tensor, target: Tensor) -> float:
    leaf = logits.detach().requires_grad_()
    _wait(logits.device)
    start = time.perf_counter()
    loss(leaf, target).backward()
    _wait(logits.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
