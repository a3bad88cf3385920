"""A run that is worked on: what its stages share and open at most once."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from torch import nn

from saltern import runtime
from saltern.config import RunConfig, contradictions, freeze, refuse_contradictions, thaw
from saltern.data.cache import ImageSource, open_source
from saltern.data.dataset import Dataset
from saltern.data.folds import FoldSplit, load_folds
from saltern.data.layouts import open_dataset
from saltern.data.loading import EvalBatch, LoaderSettings, TrainLoader, eval_batches, train_loader
from saltern.engine.checkpoint import load_weights
from saltern.engine.trainer import FoldData
from saltern.errors import RunError
from saltern.inference.predict import Predictor, score_rows
from saltern.inference.tta import build_views
from saltern.models import SegmentationNet, build_model
from saltern.progress import Progress
from saltern.runs import FoldDir, RunDir, write_json, write_text

log = logging.getLogger(__name__)


@dataclass
class Job:
    """The config of a run, and the parts that are built from it when they are first asked for."""

    config: RunConfig
    progress: Progress = field(default_factory=Progress)
    overrides: list[str] = field(default_factory=list)
    """The command line's, recorded when the run begins."""

    @cached_property
    def run(self) -> RunDir:
        """The run folder."""
        return RunDir.of(self.config.outputs, self.config.name)

    @cached_property
    def runtime(self) -> runtime.Runtime:
        """Device, precision, ranks."""
        return runtime.start(self.config.trainer)

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, every file of it opened once."""
        return open_dataset(self.config.dataset)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """The run's split: id, fold."""
        return load_folds(self.run.folds, self.dataset.train)

    @cached_property
    def labelled(self) -> ImageSource:
        """Pixels of the labelled images."""
        return open_source(self.dataset, self.dataset.train, self.config.dataset)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Id of a labelled image → its row."""
        return {name: row for row, name in enumerate(self.dataset.train["id"])}

    def begin(self) -> None:
        """Freeze the config in a new run folder, or make sure that the folder was begun with the same one.

        Raises:
            ConfigError: the folder holds a run with other settings.
            RunError: the folder holds something that is no run.
        """
        run = self.run
        if run.config.exists() and self.config.overwrite:
            log.warning("%s: overwrite=true, the run is deleted and begun anew", run.path)
            run.clear()
        if run.config.exists():
            refuse_contradictions(run.config, contradictions(thaw(run.config), self.config))
            return
        if run.path.exists() and any(run.path.iterdir()):
            raise RunError(f"{run.path}: holds files but no config.yaml, so it is no run. Choose another name=…")
        write_json(run.environment, {**runtime.environment(), "overrides": self.overrides})
        write_text(run.config, freeze(self.config))

    def eval_batches(self, source: ImageSource, rows: Iterable[int], stride: int) -> Iterator[EvalBatch]:
        """This rank's share of `rows` as whole images."""
        return eval_batches(
            source,
            list(rows),
            self.config.dataset,
            stride=stride,
            batch_size=self.config.trainer.eval_batch_size,
            share=(self.runtime.rank, self.runtime.world_size),
        )

    def train_batches(self, rows: list[int], stride: int, seed: int) -> TrainLoader:
        """This rank's training batches."""
        trainer = self.config.trainer
        settings = LoaderSettings(
            stride=stride,
            batch_size=trainer.batch_size,
            workers=trainer.workers,
            seed=seed,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        )
        return train_loader(self.labelled, rows, self.config.dataset, self.config.augment, settings)

    def fold_data(self, split: FoldSplit, stride: int, seed: int) -> FoldData:
        """What the trainer reads: batches by epoch, and the scores of a network on the validation images."""
        train_rows = [self.row_of[name] for name in split.train]
        val_rows = [self.row_of[name] for name in split.val]
        loader = self.train_batches(train_rows, stride, seed)

        def batches(epoch: int) -> Iterator[object]:
            loader.set_epoch(epoch)
            return iter(loader)

        def validate(network: nn.Module) -> dict[str, float]:
            predictor = self.predictor([network], ["identity"], stride)
            counts = score_rows(predictor, self.eval_batches(self.labelled, val_rows, stride), self.labelled.truth)
            return counts.summarise(self.runtime.sum_over_ranks)

        images = len(loader) * self.config.trainer.batch_size * self.runtime.world_size
        return FoldData(batches, min(images, len(train_rows)), len(loader), validate)  # type: ignore[arg-type]

    def predictor(self, networks: list[nn.Module], views: list[str], stride: int) -> Predictor:
        """The mean over `networks` and `views` as this run's config asks."""
        return Predictor(
            self.runtime,
            networks,
            build_views(views),
            channels_last=self.config.trainer.channels_last,
            window=self.config.dataset.window,
            stride=stride,
        )

    def fold_predictor(self, folds: list[FoldDir]) -> tuple[Predictor, int]:
        """The mean over the weights of `folds` and the configured views, and the networks' stride."""
        networks: list[SegmentationNet] = []
        for path in (weights for fold in folds for weights in fold.weights()):
            network = build_model(self.config.model, pretrained=False)
            load_weights(path, network)
            networks.append(self.runtime.place(network, channels_last=self.config.trainer.channels_last))
        stride = networks[0].stride
        return self.predictor(list(networks), self.config.inference.views, stride), stride

    def truth_of(self, name: str) -> np.ndarray:
        """The target of a labelled image at native size, uint8 (H, W) in {0, 1, 255}."""
        return self.labelled.truth(self.row_of[name])
