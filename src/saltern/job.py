"""A run that is worked on: what its stages share and open at most once."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from saltern import runtime
from saltern.config import RunConfig, contradictions, freeze, refuse_contradictions, thaw
from saltern.data.folds.assign import FoldSplit, fold_numbers, load_folds
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.batches import EvalBatch, LoaderSettings, TrainLoader, eval_batches, train_loader
from saltern.data.loading.cache import ImageSource, open_source
from saltern.data.source.dataset import Dataset, Sample, samples_of
from saltern.engine.checkpoint import load_weights
from saltern.engine.trainer import FoldData
from saltern.errors import RunError
from saltern.files import read_json, write_json, write_text
from saltern.inference.predict import Predictor, predict_rows, score_rows
from saltern.inference.store import ProbWriter, clear_shards
from saltern.inference.tta import build_views
from saltern.models import SegmentationNet, build_model
from saltern.progress import Progress
from saltern.runs import FoldDir, RunDir

log = logging.getLogger(__name__)


@dataclass
class Job:
    """The config of a run, and the parts that are built from it when they are first asked for."""

    config: RunConfig
    progress: Progress = field(default_factory=Progress)
    overrides: list[str] = field(default_factory=list)
    """The command line's, recorded when the run begins."""

    @classmethod
    def reopen(cls, outputs: str, name: str, root: str | None = None) -> "Job":
        """The run `name` below the folder `outputs`, with the config that is frozen there; `root`: its data set now.

        Raises:
            RunError: there is no such run.
        """
        config = thaw(RunDir.of(outputs, name).config)
        dataset = config.dataset if root is None else replace(config.dataset, root=root)
        return cls(replace(config, outputs=outputs, name=name, dataset=dataset))

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
    def _samples(self) -> list[Sample]:
        """The labelled images by row, without decoding any."""
        return samples_of(self.dataset.train)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Id of a labelled image → its row."""
        return {name: row for row, name in enumerate(self.dataset.train["id"])}

    def begin(self) -> None:
        """Freeze the config in a new run folder, or make sure that the folder was begun with the same one.

        As long as the run has no folds nothing rests on its config, and another one takes its place.

        Raises:
            ConfigError: the folder holds a run with other settings.
            RunError: the folder holds something that is no run.
        """
        run = self.run
        if run.config.exists() and self.config.overwrite and not self._goes_on():
            log.warning("%s: overwrite=true, the run is deleted and begun anew", run.path)
            run.clear()
        if run.config.exists() and run.folds.exists():
            refuse_contradictions(run.config, contradictions(thaw(run.config), self.config))
            return
        if not run.is_fresh():
            raise RunError(
                f"{run.path}: holds files but no config.yaml and folds.csv, so it is no run. Choose another name=…"
            )
        try:
            write_json(run.environment, {**runtime.environment(), "overrides": self.overrides})
            write_text(run.config, freeze(self.config))
        except OSError as error:
            raise RunError(f"{run.path}: cannot be written to ({error.strerror}). Set outputs=FOLDER.") from error

    def _goes_on(self) -> bool:
        """Whether `overwrite=true` is that of an interrupted run given again, which goes on like any other."""
        run = self.run
        try:
            begun = thaw(run.config)
        except RunError:  # of another version
            return False
        same = begun.overwrite and not run.report.exists() and not contradictions(begun, self.config)
        if same:
            log.info("%s: was begun with overwrite=true and goes on; delete the folder to begin anew", run.path)
        return same

    @cached_property
    def coverage(self) -> dict[str, float]:
        """Id of a labelled image → share of foreground among its valid pixels."""
        return dict(zip(self.dataset.train["id"], self.dataset.train["coverage"], strict=True))

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
            self.runtime.share_buffers(network)
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
            overlap=self.config.dataset.overlap,
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

    def store_probs(self, folds: list[FoldDir], source: ImageSource, rows: Iterable[int], shards: Path) -> None:
        """Write the mean probabilities of `folds` for `rows` of `source`, each rank its own shards.

        `shards` is a folder and the beginning of the files' names, such as `oof/fold_0_`.
        """
        predictor, stride = self.fold_predictor(folds)
        if self.runtime.is_main:
            clear_shards(shards.parent, shards.name)
        self.runtime.barrier()
        rows = list(rows)
        with (
            ProbWriter(shards.parent, f"{shards.name}{self.runtime.rank}", self.config.inference.shard_mb) as writer,
            self.progress.track(f"predict {shards.name.rstrip('_')}", len(rows)),
        ):
            for row, probs in predict_rows(predictor, self.eval_batches(source, rows, stride), self.progress):
                writer.add(source.samples[row].id, probs.numpy())
        self.runtime.barrier()

    def refuse_ensemble(self, stage: str) -> None:
        """Raise a RunError where the run is the mean of others, which has no networks of its own."""
        if self.run.ensemble.exists():
            raise RunError(f"{self.run.path}: is an ensemble of other runs; there is nothing to {stage}.")

    @cached_property
    def trained_folds(self) -> list[int]:
        """The folds whose probabilities count, as they are when first asked for; warns where the split has more.

        Raises:
            RunError: no fold is trained, or one is half trained.
        """
        if self.run.ensemble.exists():
            return list(read_json(self.run.ensemble)["folds"])
        finished, known = self.run.finished_folds(), fold_numbers(self.folds)
        begun = [number for number in known if number not in finished and self.run.fold(number).path.exists()]
        if begun:
            raise RunError(f"{self.run.path}: the training of folds {begun} is not finished; run `make train` again.")
        if not finished:
            raise RunError(f"{self.run.path}: no fold is trained yet; run `make train` first.")
        if finished != known:
            log.warning("only folds %s of %s are trained: scores and decision rest on their images", finished, known)
        return finished

    def pixels_of(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3) and target uint8 (H, W) of a labelled image at native size, from their files."""
        sample = self._samples[self.row_of[name]]
        return self.dataset.read_image(sample), self.dataset.read_mask(sample)

    def truth_of(self, name: str) -> np.ndarray:
        """The target of a labelled image at native size, uint8 (H, W) in {0, 1, 255}."""
        return self.labelled.truth(self.row_of[name])
