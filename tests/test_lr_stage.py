"""`make lr` writes a picture and a table, and begins no run."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from saltern.config import ConfigError, LrConfig, compose_config
from saltern.pipeline import Job, lr_range

TINY = [
    "name=a",
    "dataset.train=60",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "folds.check_images=false",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.accelerator=cpu",
    "steps=20",
]


def job(place: Path, *more: str) -> Job:
    return Job(compose_config("lr", [*TINY, f"dataset.root={place}/data", f"outputs={place}/outputs", *more]))


def test_it_writes_what_it_saw_and_begins_no_run(tmp_path: Path) -> None:
    asked = job(tmp_path, "trainer.batch_size=auto", "phase=fine_tune", "low=1e-5", "high=0.1")
    done = lr_range(asked)
    assert asked.config.trainer.batch_size == 3, "30 images of a fold in 10 steps"
    assert done.phase == "fine_tune"
    table = pd.read_csv(done.table)
    assert list(table.columns) == ["lr", "loss", "smoothed"]
    np.testing.assert_allclose(table["lr"], np.geomspace(1e-5, 0.1, 20)[: len(table)])
    np.testing.assert_allclose(table["loss"], done.test.losses)
    written = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "outputs").rglob("*") if path.is_file())
    assert written == ["outputs/lr/a.csv", "outputs/lr/a.png"]


def test_the_same_call_gives_the_same_curve(tmp_path: Path) -> None:
    curves = [lr_range(job(tmp_path, "trainer.precision=fp32")).test.losses for _ in range(2)]
    assert np.array_equal(*curves)


def test_several_processes_are_refused_with_what_stands_for_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"make lr is one process.*trainer\.accumulate=6"):
        lr_range(job(tmp_path, "trainer.devices=3", "trainer.accumulate=2"))


def test_the_network_of_all_images_is_no_fold(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.folds=\[all\]: make lr trains a fold\."):
        lr_range(job(tmp_path, "trainer.folds=[all]"))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("high=inf", "high=inf: expected a number above low"),
        ("steps=3", "steps=3: expected at least 20"),
        ("low=0", "low=0.0: expected a positive number"),
        ("high=1e-8", "high=1e-08: expected a number above low"),
        ("phase=warmup", "phase: unknown value 'warmup'. Did you mean 'warm_up'"),
    ],
)
def test_a_mistake_is_answered(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config("lr", [override])
    assert told in str(caught.value)
    assert isinstance(compose_config("lr", []), LrConfig)
