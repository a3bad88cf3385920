"""Images per second of `make predict images=…` beside a plain loop and the bare forward, and its memory as they grow.

The sides take turns in one process, over the same drawn images, networks and views; the first turn is not counted.
The plain loop is what one writes first: an image at a time read with OpenCV, padded, seen by every network in every
view, averaged, cut, compared, written. The bare forward is the least that there can be: the same batches lie on the
device already, and nothing is done with what the networks say. Saltern's side is all of it: the folder listed and
measured, images read strictly, masks and table written and sealed; the networks are loaded before, as in the others.

Peak memory is that of a process of its own for each number of images, from its start to its end.

    python benchmarks/inference.py [--images 400] [--side 101] [--turns 3] [--memory 1000,20000] [OVERRIDE ...]

Overrides are those of `make train`, of a run of two folds that is trained for an epoch first.
"""

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch

from saltern import pipeline
from saltern.config import PredictConfig, compose_config
from saltern.data.layouts.section import draw_section
from saltern.data.loading.cache import ImageSource
from saltern.inference.predict import Predictor
from saltern.pipeline.anywhere import Task
from saltern.pipeline.networks import members_of
from saltern.pipeline.target import Target

RUN = [
    "name=bench",
    "dataset.train=24",
    "dataset.test=2",
    "folds.n=2",
    "folds.check_images=false",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
]


def draw(folder: Path, count: int, side: int) -> None:
    """`count` PNGs, of which every twentieth is new: what is in them does not matter."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    drawn = [cv2.imencode(".png", draw_section(random, side).image)[1].tobytes() for _ in range(20)]
    for number in range(count):
        (folder / f"{number:06d}.png").write_bytes(drawn[number % len(drawn)])


def plain_loop(predictor: Predictor, images: Path, target: Path, threshold: float) -> None:
    """An image at a time."""
    target.mkdir(parents=True)
    seeing, device = predictor.seeing, predictor.runtime.device
    for path in sorted(images.iterdir()):
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        height, width = image.shape[:2]
        below, right = -height % seeing.stride, -width % seeing.stride
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        batch = torch.from_numpy(padded).permute(2, 0, 1)[None].to(device)
        with torch.inference_mode(), predictor.runtime.autocast():
            said = [
                view.undo(network(view.apply(batch).contiguous()).logits.float().sigmoid())
                for network in predictor.networks
                for view in seeing.views
            ]
        probs = torch.stack(said).mean(0)[0, 0, :height, :width].cpu().numpy()
        cv2.imwrite(str(target / path.name), (probs > threshold).astype(np.uint8) * 255)


def bare_forward(predictor: Predictor, batches: list[torch.Tensor]) -> None:
    """Every network, every view, of batches that are there."""
    with torch.inference_mode():
        for batch in batches:
            for network in predictor.networks:
                for view in predictor.seeing.views:
                    with predictor.runtime.autocast():
                        network(view.apply(batch).contiguous(memory_format=torch.channels_last))
    if predictor.runtime.device.type == "cuda":
        torch.cuda.synchronize()


def sides(job: pipeline.Job, images: Path, place: Path) -> dict[str, Callable[[int], None]]:
    """Name → one turn over all images."""
    members = members_of(job)
    predictor = members._all  # loaded once, for all sides

    def ours(turn: int) -> None:
        task = Task(job, images, Target(place / f"ours_{turn}"))
        task.members = members
        task.begin()
        task.predict(task.unfinished())
        task.finish()

    first = Task(job, images, Target(place / "list"))
    first.members = members
    first.begin()
    batches = []
    for part in first.parts():
        dataset = part.dataset(images)
        source = ImageSource(dataset, dataset.test, job.config.dataset)
        rows = list(range(len(source)))
        made = job.material.eval_batches(source, rows, first.loading, members.stride)
        batches += [batch.images.to(job.runtime.device) for batch in made]
    return {
        "plain loop": lambda turn: plain_loop(predictor, images, place / f"plain_{turn}", first.decision.threshold),
        "saltern": ours,
        "bare forward": lambda _: bare_forward(predictor, batches),
    }


def trained(place: Path, overrides: list[str]) -> list[str]:
    """Train the run; gives where it lies."""
    where = [f"outputs={place / 'outputs'}", f"dataset.root={place / 'data'}"]
    pipeline.train(pipeline.Job(compose_config("run", [*RUN, *where, *overrides])))
    return where


def peak_of(place: Path, count: int, side: int) -> tuple[int, float]:
    """MiB of a process that predicts `count` images, and its seconds."""
    draw(place / f"many_{count}", count, side)
    words = [sys.executable, __file__, "--child", str(place), str(count)]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return int(said[-2]), float(said[-1])


def child(place: Path, count: int) -> None:
    """In a process of its own."""
    job = pipeline.Job.reopen(str(place / "outputs"), "bench")
    began = time.perf_counter()
    asked = PredictConfig(images=str(place / f"many_{count}"), target=str(place / f"masks_{count}"))
    pipeline.predict_images(job, asked)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, time.perf_counter() - began)


def main() -> None:
    """Print rates, ratios and peaks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--side", type=int, default=101)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory", default="1000,20000")
    parser.add_argument("--memory-side", type=int, default=32)
    parser.add_argument("--child", nargs=2)
    options, overrides = parser.parse_known_args()
    if options.child:
        child(Path(options.child[0]), int(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trained(place, overrides)
        job = pipeline.Job.reopen(str(place / "outputs"), "bench")
        draw(place / "images", options.images, options.side)
        runtime, times = job.runtime, dict[str, list[float]]()
        turns = sides(job, place / "images", place)
        for turn in range(options.turns + 1):
            for name, side in turns.items():
                began = time.perf_counter()
                side(turn)
                times.setdefault(name, []).append(time.perf_counter() - began)
        where = torch.cuda.get_device_name() if runtime.device.type == "cuda" else platform.processor() or "CPU"
        print(f"{datetime.now(UTC):%Y-%m-%d}  torch {torch.__version__}  {where}  {torch.get_num_threads()} threads")
        print(f"{options.images} images, side {options.side}, 2 networks, views {job.config.inference.views}")
        for name, seconds in times.items():
            print(f"  {name:14s} {options.images / statistics.median(seconds[1:]):8.1f} images/s")
        for other in ("plain loop", "bare forward"):
            ratios = sorted(b / a for a, b in zip(times["saltern"][1:], times[other][1:], strict=True))
            print(f"  saltern: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) of the {other}")
        for count in map(int, options.memory.split(",")):
            peak, seconds = peak_of(place, count, options.memory_side)
            print(f"  {count:7,d} images, side {options.memory_side}: peak {peak:,} MiB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
