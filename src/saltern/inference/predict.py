"""Batches → probabilities at native size, as the mean over networks and views."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from saltern.data.loading.batches import EvalBatch
from saltern.data.loading.geometry import unfit_probs
from saltern.data.loading.windows import Blend, plan_windows
from saltern.inference.tta import View
from saltern.metrics.scores import count_pixels
from saltern.metrics.streaming import StreamingCounts
from saltern.progress import Progress
from saltern.runtime import Runtime


class Predictor:
    """The mean over `networks` and `views`, taken of probabilities, not of logits or masks.

    Networks must be on the runtime's device and are put into eval mode. Images with a side above `window` pixels
    are seen in overlapping windows that are blended; null sees every image whole.
    """

    def __init__(
        self,
        runtime: Runtime,
        networks: Sequence[nn.Module],
        views: Sequence[View],
        *,
        channels_last: bool = True,
        window: int | None = None,
        overlap: float = 0.25,
        stride: int = 1,
    ) -> None:
        assert networks, "no network to predict with"
        assert views, "no view to predict from"
        self.runtime = runtime
        self.networks = [network.eval() for network in networks]
        self.views = views
        self.channels_last = channels_last
        self.window = window
        self.overlap = overlap
        self.stride = stride

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities (B, 1, H, W), float32 in [0, 1], on the device, of `images` (B, 3, H, W) uint8."""
        images = images.to(self.runtime.device, non_blocking=True)
        size = (images.shape[-2], images.shape[-1])
        if self.window is None or max(size) <= self.window:
            return self._whole(images)
        blend = Blend(len(images), size, self.runtime.device)
        for window in plan_windows(size, self.window, self.stride, self.overlap):
            blend.add(self._whole(window.of(images)), window)
        return blend.result()

    def _whole(self, images: Tensor) -> Tensor:
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        total: Tensor | None = None
        for view in self.views:
            seen = view.apply(images).contiguous(memory_format=order)
            for network in self.networks:
                with self.runtime.autocast():
                    logits = network(seen)
                probs = view.undo(logits.float().sigmoid())
                total = probs if total is None else total + probs
        assert total is not None
        return total / (len(self.views) * len(self.networks))


def predict_rows(
    predictor: Predictor, batches: Iterable[EvalBatch], progress: Progress | None = None
) -> Iterator[tuple[int, Tensor]]:
    """(row of the sample table, its probabilities (height, width) at native size, float32 on the CPU)."""
    for batch in batches:
        probs = predictor(batch.images)[:, 0].cpu()
        for row, fit, single in zip(batch.rows, batch.fits, probs, strict=True):
            yield row, unfit_probs(single, fit)
        if progress is not None:
            progress.advance(len(batch.rows))


def score_rows(
    predictor: Predictor, batches: Iterable[EvalBatch], truth: Callable[[int], np.ndarray]
) -> StreamingCounts:
    """Pixel counts at native size and threshold 0.5, where `truth` gives a row's target (H, W) in {0, 1, 255}."""
    counts = StreamingCounts()
    for row, probs in predict_rows(predictor, batches):
        counts.update(torch.tensor([count_pixels((probs > 0.5).numpy(), truth(row))]))
    return counts
