"""What cannot be is refused before a run has folds: nothing is trained in vain."""

from pathlib import Path

import pytest
import torch

from saltern import pipeline
from saltern.config import ConfigError, compose_config
from saltern.engine.fold_data import FoldData
from saltern.engine.recipe import Recipe
from saltern.engine.timing import seconds_per_epoch
from saltern.errors import TrainingError
from saltern.models import SegmentationNet
from saltern.models.sizes import Sizes
from saltern.pipeline import Job, rehearsal
from saltern.runtime import start

TINY = [
    "name=a",
    "dataset.train=16",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "folds.check_images=false",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
]


def job(place: Path, *more: str) -> Job:
    overrides = [*TINY, f"dataset.root={place}/data", f"outputs={place}/outputs", *more]
    return Job(compose_config("run", overrides), overrides=overrides)


def test_a_view_that_turns_the_one_size_of_a_network_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def single(*args: object, **kwargs: object) -> SegmentationNet:
        network = build(*args, **kwargs)
        network.sizes = Sizes(8, only=(32, 48))
        return network

    build = rehearsal.build_model
    monkeypatch.setattr(rehearsal, "build_model", single)
    asked = job(tmp_path, "dataset.resize=[32,48]", "inference.views=[identity,rot90]")
    with pytest.raises(ConfigError, match=r"inference\.views=.*rot90 turns images of 32 x 48 into 48 x 32"):
        pipeline.train(asked)
    assert not asked.run.folds.exists()
    rehearsal.rehearse(job(tmp_path, "dataset.resize=[32,48]", "inference.views=[identity,rot180]"))


def test_compiling_and_checkpointing_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"compile=True: expected false where trainer\.checkpointing is true"):
        job(tmp_path, "trainer.compile=true", "trainer.checkpointing=true")


def test_memory_that_runs_out_while_an_epoch_is_timed_is_told_as_anywhere(tmp_path: Path) -> None:
    class Full(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    asked = job(tmp_path)
    loader = asked.material.train_batches(list(range(8)), asked.loading, 8, 0)

    def batches(epoch: int, sampling: float | None) -> object:
        loader.set_epoch(epoch, sampling)
        return iter(loader)

    data = FoldData(batches, loader.sizes, lambda network: {})  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"max_hours.*trainer\.batch_size"):
        seconds_per_epoch(Full(), data, Recipe.of(asked.config), start(asked.config.trainer))
