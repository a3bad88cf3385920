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
) -> tuple[Tensor, Tensor]:
    """How much each segment adds to the mean, for the foreground and for the complement (0 unless symmetric).

    `positives` and `valid` are the numbers of foreground and of valid pixels in each segment, (S,) like the shares.
    """

    def mean(size: Tensor) -> Tensor:
        counted = ((valid > 0) & ((size > 0) | (not skip_empty))).view(groups, -1)
        in_group = counted.sum(1, keepdim=True)
        filled = (in_group > 0).sum()
        return (counted.to(dtype) / (in_group.clamp(min=1) * filled.clamp(min=1))).flatten()

    if not symmetric:
        return mean(positives), torch.zeros_like(positives, dtype=dtype)
    return mean(positives) / 2, mean(valid - positives) / 2


# ------------------------------------------------------------------------------------- CPU, float32
def _compact(
    scores: Tensor, labels: Tensor, background_margin: float, groups: int, elu: bool, symmetric: bool, skip_empty: bool
) -> tuple[Tensor, Tensor]:
    """Row by row in numpy, where a row stays in the cache, sorting only what adds to the loss."""
    score_rows, label_rows = scores.detach().contiguous().numpy(), labels.contiguous().numpy()
    sizes = [(int(np.count_nonzero(row == 1)), int(np.count_nonzero(row == 0))) for row in label_rows]
    counts = torch.tensor(sizes)
    shares = torch.stack(_shares(counts[:, 0], counts.sum(1), groups, symmetric, skip_empty, torch.float64), 1)
    gradient = np.zeros(label_rows.shape, dtype=np.float32)
    total = 0.0
    for row, (share, other) in enumerate(shares.tolist()):
        if share == other == 0:
            continue
        truth, rest = _Side(sizes[row][0], share), _Side(sizes[row][1], other)
        foreground = label_rows[row] == 1
        errors = _activated(score_rows[row], foreground, background_margin, elu)
        if truth.size + rest.size < errors.size:
            errors[label_rows[row] == VOID] = 0
        total += _fill(gradient[row], errors, foreground, truth, rest)
        if elu:
            gradient[row] *= np.minimum(errors, 1)
    return torch.tensor(total, dtype=torch.float32), torch.from_numpy(gradient)


def _activated(scores: np.ndarray, foreground: np.ndarray, background_margin: float, elu: bool) -> np.ndarray:
    """Errors after the activation; 0 where a pixel adds nothing."""
    flipped = foreground.astype(np.uint32)
    flipped <<= 31
    flipped ^= scores.view(np.uint32)  # a sign bit for a sign: foreground has -score
    errors = flipped.view(np.float32)
    errors += np.float32(1) if background_margin == 1 else np.where(foreground, 1, background_margin)
    if elu:
        return np.exp(np.minimum(errors, 0)) + np.maximum(errors, 0)
    return np.maximum(errors, 0, out=errors)


class _Side(NamedTuple):
    """The pixels that are truth, and the share of their Jaccard loss: the foreground, or for `symmetric` the rest."""

    size: int
    share: float

    def of_truth(self, others_before: np.ndarray) -> np.ndarray:
        """Weights of the truth's own pixels, after so many wrong others."""
        return np.float32(self.share) / (self.size + others_before).astype(np.float32)

    def of_others(self, others_before: np.ndarray, truth_before: np.ndarray) -> np.ndarray:
        """Weights of the other pixels, after so many wrong others and so many wrong pixels of the truth."""
        if self.size == 0:
            return np.float32(self.share) * (others_before == 0)
        union = (self.size + others_before).astype(np.float32)
        return np.float32(self.share) * (self.size - truth_before).astype(np.float32) / (union * (union + 1))


def _fill(gradient: np.ndarray, errors: np.ndarray, foreground: np.ndarray, truth: _Side, rest: _Side) -> float:
    """Write the weights, negative on foreground, into `gradient`, which holds zeros; the loss, shares applied."""
    if truth.size == 0 and not rest.share:
        worst = errors.argmax()
        gradient[worst] = truth.share * (errors[worst] != 0)
        return truth.share * float(errors[worst])
    pixels, is_foreground = _descending(errors, foreground)
    hits, falses = np.flatnonzero(is_foreground), np.flatnonzero(~is_foreground)
    hits_before, falses_before = np.arange(hits.size), np.arange(falses.size)
    of_hits = truth.of_truth(hits - hits_before)
    of_falses = truth.of_others(falses_before, falses - falses_before)
    if rest.share:
        of_hits += rest.of_others(hits_before, hits - hits_before)
        of_falses += rest.of_truth(falses - falses_before)
    gradient[pixels[hits]] = -of_hits
    gradient[pixels[falses]] = of_falses
    return float((errors * np.abs(gradient)).sum())  # over all pixels, so that NaN shows; numpy sums in pairs


def _descending(errors: np.ndarray, foreground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel numbers of the errors above 0, the largest first, and whether they are foreground."""
    counted = errors != 0
    count = np.count_nonzero(counted)
    if 4 * count < 3 * errors.size:
        pixels = np.flatnonzero(counted)
        errors, foreground = errors[pixels], foreground[pixels]
    else:  # cheaper to sort the few zeros too
        pixels = np.arange(errors.size)
    keys = np.empty((pixels.size, 2), dtype="<i4")
    keys[:, 0] = 2 * pixels + foreground
    np.invert(errors.view(np.int32), out=keys[:, 1])
    packed = keys.view("<i8")[:, 0]
    packed.sort()
    packed = packed[:count]
    return (packed & 0xFFFFFFFF) >> 1, (packed & 1).astype(bool)


# ------------------------------------------------------------------------------- any device, any dtype
def _dense(
    scores: Tensor, labels: Tensor, background_margin: float, groups: int, elu: bool, symmetric: bool, skip_empty: bool
) -> tuple[Tensor, Tensor]:
    """All segments at once, by tensor operations that never wait for the host."""
    scores = scores.detach()
    foreground, void = labels == 1, labels == VOID
    positives, valid = foreground.sum(1), labels.shape[1] - void.sum(1)
    share, other = _shares(positives, valid, groups, symmetric, skip_empty, scores.dtype)
    errors = torch.where(foreground, 1 - scores, background_margin + scores)
    errors = torch.where(errors > 0, errors + 1, errors.clamp(max=0).exp()) if elu else errors.clamp(min=0)
    errors = errors.masked_fill(void, 0)
    order = _order(errors)
    ordered = foreground.gather(1, order)
    weights = _growth(ordered, positives, scores.dtype) * share[:, None]
    if symmetric:
        weights += _growth(~ordered, valid - positives, scores.dtype) * other[:, None]
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


def _growth(is_foreground: Tensor, positives: Tensor, dtype: torch.dtype) -> Tensor:
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
