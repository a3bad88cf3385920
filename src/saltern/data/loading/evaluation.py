"""Batches of whole images, not augmented, for validation and prediction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from saltern.config import DatasetConfig
from saltern.data.loading.batches import LoaderSettings, pinned
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.geometry import Fit, pad_image, plan_fit, scale_image
from saltern.data.loading.threads import ahead, in_threads
from saltern.data.loading.windows import plan_windows


@dataclass(frozen=True)
class EvalBatch:
    """Images of one network size, not augmented."""

    images: Tensor
    """uint8 (B, 3, H, W), RGB, in channels_last order."""
    rows: list[int]
    """Positions in the sample table."""
    ids: list[str]
    fits: list[Fit]
    """How each image was brought to network size; `unfit_probs` undoes it."""
    truths: list[np.ndarray] | None = None
    """The targets at native size, uint8 (H, W) in {0, 1, 255}, where they were asked for."""

    def same_fits(self) -> Iterator[tuple[Fit, slice]]:
        """The stretches of images that were brought to network size alike, mostly the whole batch."""
        start = 0
        for position in range(1, len(self.fits) + 1):
            if position == len(self.fits) or self.fits[position] != self.fits[start]:
                yield self.fits[start], slice(start, position)
                start = position


def eval_batches(
    source: ImageSource,
    rows: Sequence[int] | np.ndarray,
    dataset: DatasetConfig,
    settings: LoaderSettings,
    *,
    with_truth: bool = False,
) -> Iterator[EvalBatch]:
    """Every row once, whole images, grouped so that one batch has one network size; the next batch is made ahead.

    Args:
        source: The pixels.
        rows: Positions in its table.
        dataset: For the fit to network size.
        settings: stride, batch size and pinning; of `share` this rank's rows, without padding or duplicates, so perhaps
            none.
        with_truth: the batches bring their targets, read ahead as the images are.
    """
    by_size: dict[tuple[int, int], list[tuple[int, Fit]]] = {}
    for row in list(rows)[settings.share.rank :: settings.share.world_size]:
        fit = plan_fit(source.native[row], settings.stride, dataset)
        by_size.setdefault(fit.padded, []).append((int(row), fit))
    groups = [
        members[start : start + settings.batch_size]
        for _, members in sorted(by_size.items())
        for start in range(0, len(members), settings.batch_size)
    ]
    return ahead(lambda members: _eval_batch(source, members, with_truth, settings.pin), groups)


def sizes_vary(source: ImageSource, rows: Sequence[int] | np.ndarray, dataset: DatasetConfig, stride: int) -> bool:
    """Whether `rows` come to the network in more than one size."""
    return len({plan_fit(source.native[row], stride, dataset).padded for row in rows}) > 1


def seen_sizes(source: ImageSource, dataset: DatasetConfig, stride: int) -> set[tuple[int, int]]:
    """The sizes (height, width) in which the network sees the images of `source`, whole or in windows."""
    whole = {plan_fit(native, stride, dataset).padded for native in source.native}
    if dataset.window is None:
        return whole
    cut = {size: plan_windows(size, dataset.window, stride)[0] for size in whole if max(size) > dataset.window}
    return {(cut[size].height, cut[size].width) if size in cut else size for size in whole}


def _eval_batch(source: ImageSource, members: list[tuple[int, Fit]], with_truth: bool, pin: bool) -> EvalBatch:
    def fitted(member: tuple[int, Fit]) -> np.ndarray:
        row, fit = member
        return pad_image(scale_image(source.image(row), fit.scaled), fit)

    rows = [row for row, _ in members]
    images = [fitted(member) for member in members] if source.cached else in_threads(fitted, members)
    stacked = pinned(torch.from_numpy(np.stack(images)), pin).permute(0, 3, 1, 2)
    truths = in_threads(source.truth, rows) if with_truth else None
    return EvalBatch(stacked, rows, [source.samples[row].id for row in rows], [fit for _, fit in members], truths)
