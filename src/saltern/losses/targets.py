"""What every loss takes in, checked once: logits in float32, labels as bytes 0, 1 and 255 (void)."""

import numpy as np
import torch
from torch import Tensor

from saltern.errors import DataError

VOID = 255
"""The byte that marks an ignored pixel inside this package, whatever `ignore_index` was outside."""


def prepare(logits: Tensor, target: Tensor, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """Logits and labels of a binary problem, checked and brought to one form.

    Args:
        logits: (B, 1, H, W), any floating dtype. Half precision becomes float32, double stays double.
        target: (B, 1, H, W) or (B, H, W) with the values 0, 1 and `ignore_index`, of any integer, bool or float dtype.
        ignore_index: the value of void pixels.

    Returns:
        The logits and the labels (uint8 in {0, 1, 255}), both (B, 1, H, W).

    Raises:
        ValueError: wrong shape or dtype, different devices.
        DataError: the target holds another value. The check never waits for a GPU: on CUDA, and in a compiled
            graph, it is an assertion on the device, which stops the program with the same sentence.
    """
    check_logits(logits, "logits")
    if logits.shape[1] != 1:
        raise ValueError(
            f"logits: shape {tuple(logits.shape)} has {logits.shape[1]} channels; expected (B, 1, H, W), one channel "
            "of raw scores. Slice the foreground channel; only lovasz_softmax takes several classes."
        )
    labels = byte_labels(target, logits, ignore_index, 2)
    return full_precision(logits), labels.reshape(logits.shape)


def check_logits(scores: Tensor, name: str) -> None:
    """Refuse anything but a floating (B, C, H, W) tensor.

    Raises:
        ValueError: what came and what was expected.
    """
    if scores.ndim != 4:
        raise ValueError(f"{name}: shape {tuple(scores.shape)}; expected (B, C, H, W).")
    if scores.numel() == 0:
        raise ValueError(f"{name}: shape {tuple(scores.shape)} holds nothing; expected at least one image and pixel.")
    if not scores.is_floating_point():
        raise ValueError(f"{name}: dtype {scores.dtype}; expected a floating dtype.")


def full_precision(scores: Tensor) -> Tensor:
    """float32, so that sums over an image neither overflow nor round away; double stays double."""
    return scores if scores.dtype == torch.float64 else scores.float()


def byte_labels(target: Tensor, logits: Tensor, ignore_index: int, classes: int) -> Tensor:
    """Labels (B, H, W) as uint8: a class from 0 to `classes` - 1, or 255 where `target` is `ignore_index`.

    Raises:
        ValueError: the target does not fit the logits.
        DataError: a value that is neither a class nor `ignore_index`.
    """
    batch, _, height, width = logits.shape
    if tuple(target.shape) not in ((batch, height, width), (batch, 1, height, width)):
        raise ValueError(
            f"target: shape {tuple(target.shape)} does not fit logits {tuple(logits.shape)}; "
            f"expected {(batch, height, width)} or {(batch, 1, height, width)}."
        )
    if target.device != logits.device:
        raise ValueError(f"target is on {target.device}, logits on {logits.device}; move one of them.")
    if target.is_complex():
        raise ValueError(f"target: dtype {target.dtype}; expected an integer, bool or float dtype.")
    flat = target.detach().reshape(batch, height, width)
    if flat.dtype == torch.bool:
        return flat.to(torch.uint8)
    void = None
    if ignore_index != VOID:
        void = flat == ignore_index
        flat = torch.where((flat == VOID) & ~void, classes, flat).masked_fill(void, 0)
    labels, known = _bytes(flat, classes)
    _require(known, target, ignore_index, classes)
    return labels if void is None else labels.masked_fill(void, VOID)


def _bytes(values: Tensor, classes: int) -> tuple[Tensor, Tensor | bool]:
    """`values` as uint8, and whether nothing was lost and each is a class or 255 (255 + 1 is 0 in a byte)."""
    if values.device.type == "cpu" and not torch.compiler.is_compiling():
        # numpy stays in this thread: on a busy machine that is faster than to wait for torch's others
        array = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
        with np.errstate(invalid="ignore"):
            labels = array.astype(np.uint8, copy=False)
        exact = array.dtype == np.uint8 or np.array_equal(labels, array)
        return torch.from_numpy(labels), exact and bool((labels + np.uint8(1)).max() <= classes)
    as_bytes = values.to(torch.uint8)
    known = (as_bytes + 1).max() <= classes
    return as_bytes, known if values.dtype == torch.uint8 else known & (as_bytes == values).all()


def _require(known: Tensor | bool, target: Tensor, ignore_index: int, classes: int) -> None:
    expected = "0, 1" if classes == 2 else f"0 to {classes - 1}"
    expected = f"expected only {expected} and {ignore_index} (ignored)"
    if isinstance(known, Tensor) and (torch.compiler.is_compiling() or target.is_cuda):
        torch._assert_async(known, f"target: {expected}")
        return
    if not known:
        wrong = [value for value in target.unique().tolist() if value not in (*range(classes), ignore_index)]
        shown = ", ".join(f"{value:g}" for value in wrong[:8]) + (", …" if len(wrong) > 8 else "")
        raise DataError(
            f"target: holds {shown}; {expected}. "
            "Divide masks of 0 and 255 by 255, threshold soft masks, or set ignore_index."
        )
