"""The smallest of runs, finished, and what is asked of it."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from saltern import pipeline
from saltern.config import PredictConfig, compose_config
from saltern.pipeline.anywhere import Predicted

TINY = [
    "dataset.train=12",
    "dataset.test=5",
    "dataset.side=40",
    "folds.n=2",
    "model.encoder=mobilenet_v2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "model.heads.empty=0.1",
    "trainer.batch_size=4",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
    "folds.check_images=false",
    "inference.thresholds=[0.5]",
    "inference.min_areas=[0]",
    "inference.empty_gates=[0.0]",
    "inference.presence_gates=[0.0]",
]


def train(place: Path, name: str, *overrides: str) -> None:
    """A finished run, whose decision is then set so that its masks are neither empty nor full."""
    given = [*TINY, f"name={name}", f"outputs={place / 'outputs'}", f"dataset.root={place / 'data'}", *overrides]
    job = pipeline.Job(compose_config("run", given), overrides=given)
    pipeline.train(job)
    stored = np.concatenate([probs.ravel() for probs in read_probs(job.run.test).values()])
    decision = {"threshold": float(np.median(stored)), "min_area": 30, "empty_gate": None, "presence_gate": 0.01}
    job.run.decision.write_text(json.dumps(decision))
    again = pipeline.Job.reopen(str(place / "outputs"), name)
    pipeline.write_submission(again)
    pipeline.write_report(again)


def read_probs(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return {name: probs for path in sorted(folder.glob("*.safetensors")) for name, probs in load_file(path).items()}


def predict(
    place: Path, images: Path, target: Path, name: str = "a", *, turns: bool = False, **asked: bool
) -> Predicted:
    job = pipeline.Job.reopen(str(place / "outputs"), name)
    if turns:
        job = pipeline.Job(replace(job.config, inference=replace(job.config.inference, networks_at_once=1)))
    request = PredictConfig(images=str(images), target=str(target), **asked)
    return pipeline.predict_images(job, request)


def masks(target: Path) -> dict[str, np.ndarray]:
    folder = target / "masks"
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.png")}
    return {name: cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for name, path in found.items()}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but what names times or another run of the same."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
