"""What the search for a decision and for the weights of an ensemble costs.

python benchmarks/ensembles.py            4,000 images for the decision; 200 of 101 x 101 for the weights
python benchmarks/ensembles.py 4000       as many images for the weights
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from saltern.config.schema import InferenceConfig, ShapesConfig
from saltern.inference.blending import fit, lattice
from saltern.inference.judging import Bench, Ground, look
from saltern.inference.predictions import Prediction
from saltern.inference.shapes import shapes_in
from saltern.inference.tune import Sample, Statistics, collect, tune

SIDE = 101


def statistics(images: int, config: InferenceConfig) -> Statistics:
    """Of as many images, drawn at random: how long a search takes does not depend on what is in them."""
    rng, levels = np.random.default_rng(0), np.unique(np.array(config.thresholds, np.float32))
    shapes = shapes_in(config)
    area = np.sort(rng.integers(0, SIDE**2, (images, len(levels))), axis=1)[:, ::-1]
    area = np.tile(area, (1, len(shapes)))
    truth = rng.integers(0, SIDE**2, images) * (rng.random(images) < 0.6)
    hit, peak = np.minimum(area, truth[:, None]), rng.random(images).astype(np.float32)
    return Statistics(tuple(map(str, range(images))), levels, area, area, hit, truth, peak, None, tuple(shapes))


def draw(images: int, runs: int) -> list[tuple[str, list[Prediction], np.ndarray]]:
    """Smooth fields and what runs say of them."""
    rng, drawn = np.random.default_rng(1), []
    for number in range(images):
        field = 6 * gaussian_filter(rng.normal(size=(SIDE, SIDE)), 6)
        said = [
            Prediction(expit(4 * field + 9 * gaussian_filter(rng.normal(size=field.shape), 4)).astype(np.float16), None)
            for _ in range(runs)
        ]
        drawn.append((str(number), said, (field > 0).astype(np.uint8)))
    return drawn


def main() -> None:
    """Print the tables as markdown."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    grid = InferenceConfig(thresholds=[level / 200 for level in range(50, 150)], min_areas=list(range(0, 200, 10)))
    four = replace(grid, tune=ShapesConfig(fill_holes=[0, 50], largest=[0, 1]))
    print("| search for the decision, 4,000 images x 100 thresholds x 20 areas x 6 gates | wall, s | CPU, s |")
    print("|---|---:|---:|")
    for name, config in (("no shapes", grid), ("four shapes", four)):
        found = statistics(4000, config)
        wall, cpu = time.perf_counter(), time.process_time()
        tune(found, config)
        print(f"| {name} | {time.perf_counter() - wall:.1f} | {time.process_time() - cpu:.1f} |", flush=True)
    drawn, config = draw(images, 3), InferenceConfig()
    print(f"\n| {images:,} images of {SIDE} x {SIDE}, 31 thresholds | wall, s | CPU, s |\n|---|---:|---:|")
    for name, shapes in (("none", ShapesConfig()), ("four", ShapesConfig(fill_holes=[0, 50], largest=[0, 1]))):
        wall, cpu = time.perf_counter(), time.process_time()
        collect((Sample(id, said[0].probs, target) for id, said, target in drawn), config.thresholds,
                shapes_in(replace(config, tune=shapes)))  # fmt: skip
        print(f"| counting for one decision, shapes: {name} | {time.perf_counter() - wall:.1f} "
              f"| {time.process_time() - cpu:.1f} |", flush=True)  # fmt: skip
    parts = np.arange(images) % 5

    def source() -> Iterator[tuple[str, list[Prediction], np.ndarray]]:
        return iter(drawn)

    ground = Ground(tuple(id for id, _, _ in drawn), parts, "fold", parts, config)
    wall, cpu = time.perf_counter(), time.process_time()
    fit(Bench(source, ground, "probs", look(source, ground, 3)), ["a", "b", "c"], None, calibrate=False)
    print(f"| weights of 3 runs, {len(lattice(3))} candidates, 5 folds | {time.perf_counter() - wall:.1f} "
          f"| {time.process_time() - cpu:.1f} |")  # fmt: skip


if __name__ == "__main__":
    main()
