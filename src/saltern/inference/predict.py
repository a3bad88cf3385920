"""Batches → probabilities at native size, as the mean over networks and views."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from saltern.data.geometry import unfit_probs
from saltern.data.loading import EvalBatch
from saltern.inference.tta import View
from saltern.progress import Progress
from saltern.runtime import Runtime


class Predictor:
    """The mean over `networks` and `views`, taken of probabilities, not of logits or masks.

    Networks are put into eval mode and on the runtime's device, all at once.
    """

    def __init__(
        self, runtime: Runtime, networks: Sequence[nn.Module], views: Sequence[View], *, channels_last: bool = True
    ) -> None:
        assert networks, "no network to predict with"
        assert views, "no view to predict from"
        self.runtime = runtime
        self.networks = [network.to(runtime.device).eval() for network in networks]
        self.views = views
        self.channels_last = channels_last

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Probabilities (B, 1, H, W), float32 in [0, 1], on the device, of `images` (B, 3, H, W) uint8."""
        images = images.to(self.runtime.device, non_blocking=True)
        total: Tensor | None = None
        for view in self.views:
            seen = view.apply(images)
            if self.channels_last:
                seen = seen.contiguous(memory_format=torch.channels_last)
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
