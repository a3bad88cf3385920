"""Training speed: Saltern's fold loop beside the bare step of the same network, a plain script and Lightning's Trainer.

Each side is a process of its own, since Saltern tells the C library how to treat memory; they train in turn, several
times, and the first turn of each is not counted. The plain side is what one would write in an afternoon: a Dataset that
decodes PNGs and calls albumentations, a DataLoader, autocast, AdamW, BCE. The bare step is the least that there can be:
forward, loss, backward and `AdamW(fused=True)` on one batch that lies on the device already, with the process's memory
kept as Saltern keeps it. Saltern's side is what its own epochs report: batches made, augmented and moved, losses
metered, gradients clipped, weights averaged where the overrides say so; checkpoints and validation are not training.
Lightning's Trainer (the extra `bench`) gets the same network, batches, loss, optimizer, precision, clipping and
averaging, and is timed from the start of its epoch to the end; it is left out where it is not installed. Validation,
with its reading and counting, stands beside the bare forward over the same batches, which lie on the device. A side's
first step is counted from where its imports are done: it holds opening the data and building the network.

    python benchmarks/training.py dataset=tgs dataset.root=PATH model=unet_efficientnet_lite0

Overrides are those of `make train`; without any, the sample data set and its small network are used.
"""

import importlib.util
import multiprocessing
import pkgutil
import resource
import statistics
import sys
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any

import torch
from sides.training import Clock, Settings

from saltern.config import RunConfig, compose_config
from saltern.job import Job

IMAGES = 256
TURNS = 5

BCE, LOVASZ = {"bce": 1.0}, {"lovasz_hinge": 0.9, "bce": 0.1}
SIDES: dict[str, tuple[str, dict[str, Any]]] = {
    "plain script, bce": ("sides.training:Plain", BCE),
    "bare step, bce": ("sides.training:Bare", BCE),
    "Lightning's Trainer, bce": ("sides.lightning_trainer:Lightning", BCE),
    "saltern, bce": ("sides.training:Ours", BCE),
    "bare step, lovasz": ("sides.training:Bare", LOVASZ),
    "saltern, lovasz": ("sides.training:Ours", LOVASZ),
    "bare forward": ("sides.training:BareForward", BCE),
    "saltern, validation": ("sides.training:Validation", BCE),
}
"""Name → what is timed, imported in its own process alone, with which loss."""
OPTIONAL = {"Lightning's Trainer, bce": "lightning"}
"""Side → the package that it needs, of the extra `bench`."""


def serve(name: str, arguments: list[str], settings: Settings, pipe: Connection) -> None:
    """In a process of its own: answer messages by the seconds of an epoch, the last by (peak MiB, first step)."""
    side = pkgutil.resolve_name(SIDES[name][0])
    settings.clock.begin()
    epoch = side(compose_config("run", arguments), settings)
    held = settings.clock.elapsed()
    pipe.send(None)
    while pipe.recv() is not None:
        settings.clock.begin(held)
        pipe.send(epoch())
    on_gpu = torch.cuda.is_available() and settings.device != "cpu"
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    pipe.send((peak >> 20, settings.clock.first))


def take_turns(
    names: list[str], arguments: list[str], settings: Settings
) -> tuple[dict[str, list[float]], dict[str, tuple[int, float]]]:
    """Side → the seconds of each counted epoch, and its peak memory in MiB with the seconds to its first step."""
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = spawn.Pipe()
        own = replace(settings, loss=SIDES[name][1], clock=Clock())
        processes.append(spawn.Process(target=serve, args=(name, arguments, own, theirs), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes[name].recv()
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(TURNS + 1):
        for name, pipe in pipes.items():
            pipe.send("go")
            times[name].append(pipe.recv())
    costs = {}
    for (name, pipe), process in zip(pipes.items(), processes, strict=True):
        pipe.send(None)
        costs[name] = pipe.recv()
        process.join()
    return {name: seconds[1:] for name, seconds in times.items()}, costs


def compare(times: dict[str, list[float]], ours: str, other: str) -> str:
    """How many times as fast `ours` is as `other`, turn by turn: median and range."""
    ratios = sorted(b / a for a, b in zip(times[ours], times[other], strict=True))
    return f"{statistics.median(ratios):.2f} (from {ratios[0]:.2f} to {ratios[-1]:.2f})"


def available() -> list[str]:
    """The sides that can be had; says why one cannot."""
    for name, package in OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            print(f"{name}: left out, since {package} is not installed: pip install -e .[bench]")
    return [name for name in SIDES if importlib.util.find_spec(OPTIONAL.get(name, "saltern")) is not None]


def main() -> None:
    """Time all sides in turn and print the rates and their ratios."""
    config: RunConfig = compose_config("run", sys.argv[1:])
    job, names = Job(config), available()
    rows = list(range(min(IMAGES, len(job.material.dataset.train))))
    settings = Settings(rows, str(job.runtime.device), job.runtime.precision, BCE)
    times, costs = take_turns(names, sys.argv[1:], settings)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {where}  {job.runtime.precision}")
    print(f"{len(rows)} images, batch {config.trainer.batch_size}, {TURNS} turns each, medians")
    for name, seconds in times.items():
        rate, (peak, first) = len(rows) / statistics.median(seconds), costs[name]
        print(f"  {name:24s} {rate:8.1f} images/s {peak:8,d} MiB   first step after {first:.1f} s")
    for loss in ("bce", "lovasz"):
        print(f"  saltern, {loss}: {compare(times, f'saltern, {loss}', f'bare step, {loss}')} of the bare step")
    print(f"  saltern, bce: {compare(times, 'saltern, bce', 'plain script, bce')} of the plain script")
    for name in OPTIONAL:
        if name in times:
            print(f"  saltern, bce: {compare(times, 'saltern, bce', name)} of Lightning's Trainer")
    print(f"  validation: {compare(times, 'saltern, validation', 'bare forward')} of the bare forward")


if __name__ == "__main__":
    main()
