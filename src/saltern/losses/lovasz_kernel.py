"""The kernel of all Lovász losses: sort the errors of each segment, weight them, sum; value and gradient at once.

A segment is what one Jaccard index is taken over: an image, a batch, or one class of either. With the errors of a
segment in descending order, its loss is `sum_k a_k * g_k`, where `a` is the error after the activation and
`g_k = J_k - J_(k-1)` the growth of the Jaccard loss `J_k` when the k-th pixel joins the mispredicted ones
(Berman et al., arXiv 1705.08790, equation 8 and algorithm 1). With P foreground pixels in the segment, and p of them
and n background pixels before the k-th, the growth has a closed form without differences of near-equal numbers:

    foreground pixel:  g = 1 / (P + n)          background pixel:  g = (P - p) / ((P + n) (P + n + 1))

and if P = 0, g is 1 for the first pixel and 0 for all others. Only pixels with a > 0 add to the loss or to its
gradient, so on a CPU only they are sorted: error and pixel number packed into one 64-bit integer each, by numpy, whose
sort of integers is vectorised. A GPU sorts all segments at once, again as packed integers, and never waits for the
host. Equal errors keep the order of the pixels.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saltern.losses.targets import VOID

_MOST_PIXELS = 2**30
"""A pixel number and its label must fit into 31 bits."""


class _Shares(NamedTuple):
    """How much each segment adds to the mean: for the foreground, and for the complement if asked for."""

    foreground: Tensor
    complement: Tensor | None


@torch.library.custom_op("saltern::lovasz", mutates_args=())
def lovasz(
    scores: Tensor,
    labels: Tensor,
    background_margin: float,
    groups: int,
    elu: bool,
    symmetric: bool,
    skip_empty: bool,
) -> tuple[Tensor, Tensor]:
    """Mean Lovász extension of the Jaccard loss over segments, and its gradient with respect to the scores.

    The error of a foreground pixel is `1 - score`, of a background pixel `background_margin + score`.

    Args:
        scores: (S, N) float32 or float64, one row a segment.
        labels: (S, N) uint8: 1 foreground, 0 background, 255 ignored.
        background_margin: 1 for the hinge on logits, 0 for probabilities.
        groups: the S rows are this many groups of equal size; the mean is taken within each group, then over groups.
        elu: activation elu(error) + 1 instead of relu(error).
        symmetric: mean of the loss and of the loss with foreground and background exchanged.
        skip_empty: leave segments without foreground (in the exchanged loss: without background) out of the mean.

    Returns:
        The loss, a scalar, and its gradient (S, N).
    """
    compact = scores.device.type == "cpu" and scores.dtype == torch.float32 and scores.shape[1] < _MOST_PIXELS
    kernel = _compact if compact else _dense
    return kernel(scores, labels, background_margin, groups, elu, symmetric, skip_empty)


@lovasz.register_fake
def _(
    scores: Tensor,
    labels: Tensor,
    background_margin: float,
    groups: int,
    elu: bool,
    symmetric: bool,
    skip_empty: bool,
) -> tuple[Tensor, Tensor]:
    return scores.new_empty(()), torch.empty_like(scores, memory_format=torch.contiguous_format)


def _keep(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(output[1])
    ctx.set_materialize_grads(False)


def _backward(ctx, loss_gradient, weights_gradient):  # type: ignore[no-untyped-def]
    if weights_gradient is not None:
        raise NotImplementedError("the Lovász losses have no second derivative; call backward without create_graph.")
    gradient = None if loss_gradient is None else ctx.saved_tensors[0] * loss_gradient
    return gradient, None, None, None, None, None, None


lovasz.register_autograd(_backward, setup_context=_keep)


def _shares(
    positives: Tensor, valid: Tensor, groups: int, symmetric: bool, skip_empty: bool, dtype: torch.dtype
) -> _Shares:
    """Shares (S,) from the number of foreground and of valid pixels in each segment."""

    def mean(size: Tensor) -> Tensor:
        counted = (valid > 0) & ((size > 0) | (not skip_empty))
        counted = counted.view(groups, -1)
        in_group = counted.sum(1, keepdim=True)
        filled = (in_group > 0).sum()
        share = counted.to(dtype) / (in_group.clamp(min=1) * filled.clamp(min=1))
        return share.flatten()

    if not symmetric:
        return _Shares(mean(positives), None)
    return _Shares(mean(positives) / 2, mean(valid - positives) / 2)


# ------------------------------------------------------------------------------------- CPU, float32
def _compact(
    scores: Tensor, labels: Tensor, background_margin: float, groups: int, elu: bool, symmetric: bool, skip_empty: bool
) -> tuple[Tensor, Tensor]:
    """Row by row in numpy, sorting only what adds to the loss."""
    score_rows, label_rows = scores.detach().contiguous().numpy(), labels.contiguous().numpy()
    positives = np.count_nonzero(label_rows == 1, axis=1)
    valid = label_rows.shape[1] - np.count_nonzero(label_rows == VOID, axis=1)
    shares = _shares(torch.from_numpy(positives), torch.from_numpy(valid), groups, symmetric, skip_empty, torch.float64)
    gradient = torch.zeros(scores.shape, dtype=torch.float32)
    total = 0.0
    for row in range(len(score_rows)):
        share = float(shares.foreground[row])
        other = 0.0 if shares.complement is None else float(shares.complement[row])
        if share == other == 0.0:
            continue
        segment = _Segment(score_rows[row], label_rows[row], int(positives[row]), int(valid[row]))
        total += segment.add(gradient.numpy()[row], background_margin, elu, share, other)
    return torch.tensor(total, dtype=torch.float32), gradient


class _Segment(NamedTuple):
    """One row of scores and labels with its number of foreground and of valid pixels."""

    scores: np.ndarray
    labels: np.ndarray
    positives: int
    valid: int

    def add(self, gradient: np.ndarray, background_margin: float, elu: bool, share: float, other: float) -> float:
        """Write the gradient of this segment into `gradient`; its share of the loss."""
        foreground = self.labels == 1
        errors = _activated(self.scores, foreground, background_margin, elu)
        if self.valid < errors.size:
            errors[self.labels == VOID] = 0.0
        pixels, is_foreground, ordered = _descending(errors, foreground, only_first=self.positives == 0 and not other)
        weights = np.zeros_like(ordered)
        if share:
            weights += _growth(is_foreground, self.positives) * np.float32(share)
        if other:
            weights += _growth(1 - is_foreground, self.valid - self.positives) * np.float32(other)
        loss = float(np.dot(ordered, weights))
        if elu:
            weights *= np.minimum(ordered, 1.0)
        gradient[pixels] = np.where(is_foreground, -weights, weights)
        return loss


def _activated(scores: np.ndarray, foreground: np.ndarray, background_margin: float, elu: bool) -> np.ndarray:
    """Errors after the activation, relu up to negative values, which count as 0."""
    margin = np.float32(background_margin)
    errors = np.where(foreground, np.float32(1) - scores, margin + scores)
    if elu:
        return np.where(errors > 0, errors + 1, np.exp(np.minimum(errors, 0)))
    return errors


def _descending(
    errors: np.ndarray, foreground: np.ndarray, only_first: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel numbers, labels {0, 1} and values of the positive errors, the largest first."""
    if only_first:
        pixels = errors.argmax(axis=0, keepdims=True)
        pixels = pixels[~(errors[pixels] <= 0)]
        return pixels, foreground[pixels].view(np.uint8), errors[pixels]
    pixels = np.flatnonzero(~(errors <= 0))  # NaN stays, so that the loss shows it
    keys = np.empty((pixels.size, 2), dtype="<i4")
    keys[:, 0] = pixels
    keys[:, 0] <<= 1
    keys[:, 0] |= foreground[pixels]
    keys[:, 1] = ~errors[pixels].view(np.int32)
    packed = keys.view("<i8")[:, 0]
    packed.sort()
    return keys[:, 0] >> 1, (keys[:, 0] & 1).astype(np.uint8), (~keys[:, 1]).view(np.float32)


def _growth(is_foreground: np.ndarray, positives: int) -> np.ndarray:
    """Growth g of the module's docstring, for labels in descending order of their errors."""
    if positives == 0:
        growth = np.zeros(is_foreground.size, dtype=np.float32)
        growth[:1] = 1.0
        return growth
    after = np.cumsum(is_foreground, dtype=np.int32)
    before = after - is_foreground
    union = np.arange(positives, positives + before.size, dtype=np.int32) - before
    missing = (positives - before).astype(np.float32)
    union = union.astype(np.float32)
    return np.where(is_foreground, 1 / union, missing / (union * (union + 1)))


# ------------------------------------------------------------------------------- any device, any dtype
def _dense(
    scores: Tensor, labels: Tensor, background_margin: float, groups: int, elu: bool, symmetric: bool, skip_empty: bool
) -> tuple[Tensor, Tensor]:
    """All segments at once, by tensor operations that never wait for the host."""
    scores = scores.detach()
    foreground, void = labels == 1, labels == VOID
    positives, valid = foreground.sum(1), labels.shape[1] - void.sum(1)
    shares = _shares(positives, valid, groups, symmetric, skip_empty, scores.dtype)
    errors = torch.where(foreground, 1 - scores, background_margin + scores)
    errors = torch.where(errors > 0, errors + 1, errors.clamp(max=0).exp()) if elu else errors.clamp(min=0)
    errors = errors.masked_fill(void, 0)
    order = _order(errors)
    ordered = foreground.gather(1, order)
    weights = _dense_growth(ordered, positives, scores.dtype) * shares.foreground[:, None]
    if shares.complement is not None:
        weights += _dense_growth(~ordered, valid - positives, scores.dtype) * shares.complement[:, None]
    weights = torch.empty_like(weights).scatter_(1, order, weights)
    loss = (weights * errors).sum()
    weights = weights * (errors.clamp(max=1) if elu else errors > 0)
    return loss, torch.where(foreground, -weights, weights)


def _order(errors: Tensor) -> Tensor:
    """Pixel numbers (S, N) by descending error, which is at least 0; equal errors in the order of the pixels."""
    if errors.dtype != torch.float32:
        return torch.sort(errors, dim=1, descending=True, stable=True).indices
    rows = torch.arange(errors.shape[0], device=errors.device)[:, None]
    keys = (rows << 32) - errors.view(torch.int32)
    order = torch.sort(keys.flatten(), stable=True).indices.view_as(errors)
    return order - rows * errors.shape[1]


def _dense_growth(is_foreground: Tensor, positives: Tensor, dtype: torch.dtype) -> Tensor:
    """Growth g of the module's docstring for every row of labels in descending order of their errors."""
    ahead = is_foreground.flatten().cumsum(0).view(is_foreground.shape)
    start = ahead[:, :1] - is_foreground[:, :1].long()
    before = ahead - start - is_foreground.long()
    ranks = torch.arange(is_foreground.shape[1], device=is_foreground.device)
    positives = positives[:, None]
    union = (positives + ranks - before).to(dtype)
    background = (positives - before) / (union * (union + 1))
    growth = torch.where(is_foreground, 1 / union, background)
    return torch.where(positives > 0, growth, (ranks == 0).to(dtype))
