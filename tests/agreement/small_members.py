"""The smallest of runs over one drawn data set, and the commands that set several of them side by side."""

from pathlib import Path
from typing import Any

from saltern import pipeline
from saltern.config import compose_config

TINY = [
    "dataset.train=12",
    "dataset.test=3",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=mobilenet_v2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=4",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "inference.views=[identity]",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
]


def train(place: Path, name: str, *overrides: str) -> None:
    given = [*TINY, f"name={name}", f"outputs={place / 'outputs'}", f"dataset.root={place / 'data'}", *overrides]
    pipeline.train(pipeline.Job(compose_config("run", given), overrides=given))


def reopened(place: Path, name: str, data: str | None = None) -> pipeline.Job:
    return pipeline.Job.reopen(str(place / "outputs"), name, None if data is None else str(place / data))


def ensemble(place: Path, *runs: str, **settings: Any) -> pipeline.Job:
    given = [f"name={settings.pop('name', 'e')}", f"runs=[{','.join(runs)}]", f"outputs={place / 'outputs'}"]
    return pipeline.ensemble_runs(
        compose_config("ensemble", [*given, *(f"{key}={value}" for key, value in settings.items())])
    )


def compare(place: Path, *runs: str, **settings: Any) -> tuple[Path, list[Any]]:
    given = ["name=v", f"runs=[{','.join(runs)}]", f"outputs={place / 'outputs'}"]
    return pipeline.compare_runs(
        compose_config("compare", [*given, *(f"{key}={value}" for key, value in settings.items())])
    )
