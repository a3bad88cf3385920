"""Batches → predictions at native size, as the mean over networks and views."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from saltern.data.loading.evaluation import EvalBatch
from saltern.data.loading.geometry import unfit_probs
from saltern.data.loading.windows import Blend, plan_windows
from saltern.errors import RunError
from saltern.inference.predictions import MEANS, BatchPrediction, Mean, Prediction, higher
from saltern.inference.tta import View
from saltern.metrics.scores import count_batch
from saltern.metrics.streaming import StreamingCounts
from saltern.models import Outputs
from saltern.progress import Progress
from saltern.runtime import Runtime
from saltern.runtime.memory import EVALUATION, enough_memory


@dataclass(frozen=True)
class Seeing:
    """How a network sees an image."""

    views: Sequence[View]
    stride: int = 1
    channels_last: bool = True
    window: int | None = None
    """Images with a longer side, in pixels, are seen in overlapping windows that are blended; None: whole."""
    overlap: float = 0.25


class Predictor:
    """The `mean` over `networks`, of what each says as the mean of its views' probabilities.

    Networks must be on the runtime's device and are put into eval mode.
    """

    def __init__(
        self, runtime: Runtime, networks: Sequence[nn.Module], seeing: Seeing, mean: Mean = MEANS["probs"]
    ) -> None:
        assert networks, "no network to predict with"
        assert seeing.views, "no view to predict from"
        self.runtime = runtime
        self.networks = [network.eval() for network in networks]
        self.seeing = seeing
        self.mean = mean

    def __call__(self, images: Tensor) -> BatchPrediction:
        """What they say of `images` (B, 3, H, W) uint8, on the device."""
        return self.mean.of(self.add(None, images), len(self.networks))

    @torch.inference_mode()
    def add(self, total: BatchPrediction | None, images: Tensor) -> BatchPrediction:
        """`total` plus what each network in turn says, as a term of the mean, on the device.

        The order of the additions is that of the networks, so that it does not matter how many are loaded at a time.

        Raises:
            RunError: memory runs out.
        """
        with enough_memory(EVALUATION, self.runtime.device, "predicting", images.shape):
            images = images.to(self.runtime.device, non_blocking=True)
            for network in self.networks:
                said = self.mean.term(self._one(network, images))
                total = said if total is None else total + said
        assert total is not None
        return total

    def _one(self, network: nn.Module, images: Tensor) -> BatchPrediction:
        """Over windows probabilities are blended; an image holds foreground where any window does, so the maximum."""
        size, seeing = (images.shape[-2], images.shape[-1]), self.seeing
        if seeing.window is None or max(size) <= seeing.window:
            return self._whole(network, images)
        blend, presence = Blend(len(images), size, self.runtime.device), None
        for window in plan_windows(size, seeing.window, seeing.stride, seeing.overlap):
            said = self._whole(network, window.of(images))
            blend.add(said.probs, window)
            presence = higher(presence, said.presence)
        return BatchPrediction(blend.result(), presence)

    def _whole(self, network: nn.Module, images: Tensor) -> BatchPrediction:
        order = torch.channels_last if self.seeing.channels_last else torch.contiguous_format
        size = (images.shape[-2], images.shape[-1])

        def outputs_of(seen: Tensor) -> Outputs:
            with self.runtime.autocast():
                outputs: Outputs = network(seen.contiguous(memory_format=order))
            return outputs

        return over_views(outputs_of, [view.at(size, self.seeing.stride) for view in self.seeing.views], images)


def over_views(outputs_of: Callable[[Tensor], Outputs], views: Sequence[View], images: Tensor) -> BatchPrediction:
    """The mean over `views` of what a network says of `images` (B, 3, H, W), as float32 probabilities."""
    total: BatchPrediction | None = None
    for view in views:
        outputs = outputs_of(view.apply(images))
        presence = None if outputs.presence is None else outputs.presence[:, 0].float().sigmoid()
        said = BatchPrediction(view.undo(outputs.logits.float().sigmoid()), presence)
        total = said if total is None else total + said
    assert total is not None, "no view"
    return total / len(views)


def native(batch: EvalBatch, said: BatchPrediction) -> Iterator[tuple[int, Prediction]]:
    """(row, what is `said` of its image, at native size)."""
    presence = [None] * len(batch.rows) if said.presence is None else said.presence.tolist()
    for row, fit, single, present in zip(batch.rows, batch.fits, said.probs[:, 0].cpu(), presence, strict=True):
        yield row, Prediction(unfit_probs(single, fit).numpy(), present)


def predict_rows(
    predictor: Predictor, batches: Iterable[EvalBatch], progress: Progress | None = None
) -> Iterator[tuple[int, Prediction]]:
    """(row of the sample table, what is said of its image, at native size)."""
    for batch in batches:
        yield from native(batch, predictor(batch.images))
        if progress is not None:
            progress.advance(len(batch.rows))


@torch.inference_mode()
def score_batches(predictor: Predictor, batches: Iterable[EvalBatch]) -> StreamingCounts:
    """Pixel counts at native size and threshold 0.5 of batches with their truth, counted on the device.

    Raises:
        RunError: probabilities that are not finite, which no threshold would show; names an image. Or memory runs out.
    """
    counts, finite, ids = StreamingCounts(), [], []
    for batch in batches:
        assert batch.truths is not None, "batches without their truth"
        probs = predictor(batch.images).probs
        finite.append(probs.flatten(1).isfinite().all(1))
        ids += batch.ids
        with enough_memory(EVALUATION, predictor.runtime.device, "scoring at native size", batch.images.shape):
            for fit, part in batch.same_fits():
                masks = unfit_probs(probs[part], fit) > 0.5
                targets = torch.from_numpy(np.stack(batch.truths[part]))
                counts.update(count_batch(masks, targets.to(probs.device, non_blocking=True)))
    if finite:
        broken = [name for name, good in zip(ids, torch.cat(finite).tolist(), strict=True) if not good]
        if broken:
            raise RunError(
                f"the probabilities of {len(broken)} images are not finite, such as {broken[0]!r}: the network has "
                "diverged. Train with trainer.precision=fp32 or a lower lr."
            )
    return counts
