"""The trained networks of some folds, and what they predict together: on the device at once, or one after the other."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from saltern.config import RunConfig
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.evaluation import EvalBatch
from saltern.data.material import Loading, Material
from saltern.inference.predict import Predictor, Seeing, native, predict_rows
from saltern.inference.predictions import BatchPrediction, Prediction, build_mean
from saltern.inference.store import ProbWriter, clear_shards
from saltern.inference.tta import build_views
from saltern.models import SegmentationNet, build_model
from saltern.models.trained import load_weights
from saltern.progress import Progress
from saltern.runtime import Runtime

log = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.5
"""Of what is free on a GPU, for weights; the rest is for activations."""

Batches = Callable[[list[int]], Iterator[EvalBatch]]
"""Rows of a sample table → their images, this process's share of them."""


def seeing(config: RunConfig, views: list[str], stride: int) -> Seeing:
    """How the networks of a run see images, from `views` by name."""
    dataset = config.dataset
    return Seeing(build_views(views), stride, config.trainer.channels_last, dataset.window, dataset.overlap)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the places from 0 to `count` - 1, evenly spread, the first and the last among them."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


@dataclass(frozen=True)
class Images:
    """What is to be predicted: rows of a source of pixels, and how this process reads its share of them."""

    material: Material
    source: ImageSource
    rows: list[int]
    loading: Loading

    def batches(self, stride: int) -> Batches:
        """How any of the rows become batches for networks of a stride."""
        return lambda rows: self.material.eval_batches(self.source, rows, self.loading, stride)


class Members:
    """The networks whose weights lie at `paths`, in that order, as the mean of which a run predicts."""

    def __init__(self, runtime: Runtime, config: RunConfig, paths: Sequence[Path]) -> None:
        assert paths, "no weights to predict with"
        self.runtime = runtime
        self.config = config
        self.paths = list(paths)
        self.blank = build_model(config.model, pretrained=False)
        """A network like the others, without their weights, to be asked what it takes."""
        self._mean = build_mean(config.inference.mean, len(self.paths))

    @property
    def stride(self) -> int:
        """Image sides come as multiples of it."""
        return self.blank.stride

    @cached_property
    def at_once(self) -> int:
        """Networks on the device at a time: as configured, or as many as fit in half of what a GPU has free."""
        asked = self.config.inference.networks_at_once
        if asked is not None or self.runtime.device.type != "cuda":
            return asked or len(self.paths)
        free, _ = torch.cuda.mem_get_info(self.runtime.device)
        each = sum(tensor.nbytes for tensor in self.blank.state_dict().values())
        fitting = max(1, min(len(self.paths), int(SHARE_OF_MEMORY * free / each)))
        if fitting < len(self.paths):
            log.info("%d networks do not fit on the device together: %d at a time", len(self.paths), fitting)
        return fitting

    def predictions(self, rows: list[int], batches: Batches, progress: Progress) -> Iterator[tuple[int, Prediction]]:
        """(row, the mean of what the networks say of it, at native size) of this process's share.

        Where the networks take turns, as many images as a shard holds pass each of them before the next is loaded, so
        that weights are read once a shard; the sums are made in the same order, so the means are the same.
        """
        if self.at_once >= len(self.paths):
            yield from predict_rows(self._all, batches(rows), progress)
            return
        for part in self._parts(rows, batches):
            totals: list[BatchPrediction | None] = [None] * len(part)
            for start in range(0, len(self.paths), self.at_once):
                totals = self._added(self.paths[start : start + self.at_once], totals, part)
            for total, batch in zip(totals, part, strict=True):
                assert total is not None
                yield from native(batch, self._mean.of(total, len(self.paths)))
                progress.advance(len(batch.rows))

    def image_predictions(self, images: Images, progress: Progress) -> Iterator[tuple[int, Prediction]]:
        """`predictions` of `images`; to be taken to their end."""
        varying = images.material.sizes_vary(images.source, images.rows, self.stride)
        with self.runtime.evaluating(sizes_vary=varying):
            yield from self.predictions(images.rows, images.batches(self.stride), progress)

    def store(self, images: Images, shards: Path, progress: Progress) -> list[Path]:
        """Write the mean predictions of `images`, each process its own shards; gives the shards of all.

        `shards` is a folder and the beginning of the files' names, such as `oof/fold_0_`.

        Raises:
            RunError: probabilities that are not finite.
            StorageError: the disk is full, and the like.
        """
        group = self.runtime.group
        group.on_main(clear_shards, shards.parent, shards.name)
        with (
            ProbWriter(shards.parent, f"{shards.name}{group.rank}", self.config.inference.shard_mb) as writer,
            progress.track(f"predict {shards.name.rstrip('_')}", len(images.rows)),
        ):
            for row, said in self.image_predictions(images, progress):
                writer.add(images.source.samples[row].id, said.probs, said.presence)
        group.barrier()
        return sorted(shards.parent.glob(f"{shards.name}*.safetensors"))

    def _added(
        self, paths: Sequence[Path], totals: list[BatchPrediction | None], part: list[EvalBatch]
    ) -> list[BatchPrediction | None]:
        """`totals` plus what the networks of `paths` say; they are gone from the device when this returns."""
        predictor = self._predictor(paths)
        return [predictor.add(total, batch.images).cpu() for total, batch in zip(totals, part, strict=True)]

    def _parts(self, rows: list[int], batches: Batches) -> Iterator[list[EvalBatch]]:
        """The batches of `rows`, as many at a time as one shard holds."""
        limit, part, size = self.config.inference.shard_mb << 20, list[EvalBatch](), 0
        for batch in batches(rows):
            part.append(batch)
            size += batch.images.nbytes
            if size >= limit:
                yield part
                part, size = [], 0
        if part:
            yield part

    @cached_property
    def _all(self) -> Predictor:
        """All networks, loaded once: those who ask part by part ask the same ones."""
        return self._predictor(self.paths)

    def _predictor(self, paths: Sequence[Path]) -> Predictor:
        networks: list[nn.Module] = [self._loaded(path) for path in paths]
        look = seeing(self.config, self.config.inference.views, self.stride)
        return Predictor(self.runtime, networks, look, self._mean)

    def _loaded(self, path: Path) -> SegmentationNet:
        network = build_model(self.config.model, pretrained=False)
        load_weights(path, network)
        placed: SegmentationNet = self.runtime.place(network, channels_last=self.config.trainer.channels_last)
        return placed
