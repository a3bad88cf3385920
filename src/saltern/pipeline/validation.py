"""How a fold's network is scored after every epoch, and what is kept of it: scores, and the counts of every image."""

import logging
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import nn

from saltern.data.loading.evaluation import EvalBatch
from saltern.inference.epoch_counts import EpochCounts
from saltern.inference.members import seeing
from saltern.inference.predict import Predictor, score_batches
from saltern.job import Job
from saltern.pipeline.watching import Watched
from saltern.report.tracking import EpochLog
from saltern.runs import FoldDir

log = logging.getLogger(__name__)


class Validation:
    """The validation of one fold; called with a network, it gives the scores of all its images.

    It is also the trainer's log of epochs: what it has counted last becomes that epoch's part of
    `val_counts.safetensors`, after the row of scores and before the checkpoint. An epoch that is logged again replaces
    itself and all later ones, so that a stop in between leaves no trace.
    """

    def __init__(self, job: Job, fold: FoldDir, ids: Sequence[str], stride: int, epochs: EpochLog) -> None:
        """`ids`: the images held out, perhaps none; `stride`: the network's; `epochs`: takes the scores too."""
        self._job = job
        self._path = fold.val_counts
        self._epochs = epochs
        self._ids = list(ids)
        self._rows = job.material.rows(ids)
        self._stride = stride
        self._look = seeing(job.config, ["identity"], stride)
        self._vary = bool(ids) and job.material.sizes_vary(job.material.labelled, self._rows, stride)
        self._place = {row: place for place, row in enumerate(self._rows)}
        self._counts = torch.zeros(0, 3, dtype=torch.int64)
        self._watched = Watched(job, ids, self._look)
        self._network: nn.Module | None = None

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """The scores of `network`, the same on every process, which all must call; none where no image is held out."""
        job, found, self._network = self._job, list[int](), network
        job.runtime.share_buffers(network)
        if not self._rows:
            return {}
        labelled = job.material.labelled
        batches = job.material.eval_batches(labelled, self._rows, job.loading, self._stride, with_truth=True)
        with job.runtime.evaluating(sizes_vary=self._vary):
            counts = score_batches(Predictor(job.runtime, [network], self._look), self._noted(batches, found))
        mine = torch.zeros(len(self._rows), 3, dtype=torch.int64)
        mine[found] = torch.from_numpy(counts.counts())
        self._counts = job.runtime.sum_over_ranks(mine).cpu()
        return counts.summarise(job.runtime.sum_over_ranks)

    def _noted(self, batches: Iterable[EvalBatch], found: list[int]) -> Iterator[EvalBatch]:
        """`batches`, with the places of their images among the ids added to `found`: the order of the counts."""
        for batch in batches:
            found.extend(self._place[row] for row in batch.rows)
            yield batch

    def log(self, epoch: int, phase: str, scores: dict[str, float]) -> None:
        """Record a finished epoch, counted from 1, with what was counted last and, now and then, pictures."""
        self._epochs.log(epoch, phase, scores)
        if self._rows:
            before = EpochCounts.read(self._path) if self._path.exists() else EpochCounts.none(self._ids)
            if len(before.counts) < epoch - 1:
                log.warning(
                    "%s: epochs %d to %d were not counted by the version that trained them, so what choosing the best "
                    "epoch gained will not be known", self._path, len(before.counts) + 1, epoch - 1,
                )  # fmt: skip
            before.with_epoch(epoch, self._counts.numpy()).write(self._path)
        if self._network is not None and self._watched.is_due(epoch):
            self._epochs.draw(epoch, self._watched.draw(self._network))
