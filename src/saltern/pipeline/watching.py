"""The few validation images of a fold that TensorBoard shows as training goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from saltern.data.loading.batches import Share
from saltern.data.loading.preview import OUTLINE, VOID_OUTLINE, lined
from saltern.data.source.masks import VOID
from saltern.inference.members import evenly
from saltern.inference.predict import Predictor, Seeing, predict_rows
from saltern.job import Job

SHOWN = 4
"""Images of a fold."""
SIDES = (192, 384)
"""Pixels: pictures of images whose longer side is shorter are made larger, of those that are longer smaller."""
MASK_OUTLINE = (0, 255, 255)
"""Of what the network takes for foreground, RGB; the truth is as in `make preview`."""


class Watched:
    """Validation images of a fold, the same ones whenever they are asked for, drawn with truth and mask."""

    def __init__(self, job: Job, ids: Sequence[str], seeing: Seeing) -> None:
        """`ids`: the images held out, perhaps none; `seeing`: how the network sees them when it is scored."""
        self._job = job
        self._every = job.config.trainer.pictures_every
        self._ids = watched(ids, job.material.coverage)
        self._seeing = seeing

    def is_due(self, epoch: int) -> bool:
        """Whether they are drawn after `epoch`, counted from 1."""
        return bool(self._ids) and self._every is not None and (epoch == 1 or epoch % self._every == 0)

    def draw(self, network: nn.Module) -> dict[str, NDArray[np.uint8]]:
        """Id → picture uint8 (H, W, 3) RGB, with outlines of truth, void and of the mask of `network` at 0.5.

        This process alone computes them; nothing random is drawn.
        """
        job, material = self._job, self._job.material
        rows = material.rows(self._ids)
        loading = replace(job.loading, share=Share())
        vary = material.sizes_vary(material.labelled, rows, self._seeing.stride)
        batches = material.eval_batches(material.labelled, rows, loading, self._seeing.stride)
        with job.runtime.evaluating(sizes_vary=vary):
            predictor = Predictor(job.runtime, [network], self._seeing)
            said = {row: found.probs for row, found in predict_rows(predictor, batches)}
        return {name: drawn(*material.pixels_of(name), said[row]) for name, row in zip(self._ids, rows, strict=True)}


def watched(ids: Sequence[str], coverage: Mapping[str, float]) -> list[str]:
    """At most SHOWN of `ids`, spread evenly over the coverage of their foreground, the fullest first."""
    ordered = sorted(ids, key=lambda name: (-coverage[name], name))
    return [ordered[place] for place in evenly(len(ordered), SHOWN)]


def drawn(image: NDArray[np.uint8], target: NDArray[np.uint8], probs: NDArray[np.floating]) -> NDArray[np.uint8]:
    """`image` (H, W, 3) RGB in a size to look at, with outlines of `target` (H, W) and of `probs` (H, W) over 0.5."""
    longest = max(image.shape[:2])
    factor = min(SIDES[1] / longest, max(1.0, -(-SIDES[0] // longest)))
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    shown = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST if factor >= 1 else cv2.INTER_AREA)
    for inside, colour in ((target == VOID, VOID_OUTLINE), (target == 1, OUTLINE), (probs > 0.5, MASK_OUTLINE)):
        mask = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        shown = lined(shown, mask, colour)
    return np.asarray(shown, np.uint8)
