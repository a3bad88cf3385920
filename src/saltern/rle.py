"""Run lengths: a mask as text, and back. One codec for the data that is read and the submission that is written.

Runs are an int64 array (n, 2) of 0-based start and length, in the flattened mask's pixels. How the mask is
flattened (`order`), the number of its first pixel (`index_base`) and whether starts count from the end of the
previous run (`relative`) differ between competitions, so they are arguments; the defaults are those of TGS.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saltern.errors import SalternError

Runs = NDArray[np.int64]

NO_RUNS: Runs = np.empty((0, 2), np.int64)
"""An empty mask."""
NO_RUNS.setflags(write=False)

FARTHEST = 2**40
"""A pixel number beyond any image: larger numbers are refused before they could overflow."""


class RleError(SalternError):
    """Text that is no run-length encoding, or runs that do not fit the mask. Says which number, and its value."""

    def __init__(self, text: str, kind: str = "wrong masks") -> None:
        super().__init__(text)
        self.kind = kind
        """A plural noun phrase, to count errors by."""


def find_runs(mask: NDArray[np.generic], *, order: str = "column") -> Runs:
    """The foreground runs of `mask` (H, W), values {0, 1} or bool; sorted, disjoint, never touching.

    Raises:
        RleError: another shape or another value, such as void (255), which no run length can express.
    """
    if mask.ndim != 2:
        raise RleError(f"mask of shape {mask.shape}: expected (height, width).")
    if mask.dtype != np.bool_ and mask.size:
        low, high = mask.min(), mask.max()
        if low < 0 or high > 1 or (mask.dtype.kind not in "iu" and not np.isin(mask, (0, 1)).all()):
            raise RleError(f"mask holds values from {low} to {high}: expected only 0 and 1. Threshold it first.")
    bounded = np.zeros(mask.size + 2, np.uint8)
    bounded[1:-1] = mask.ravel(order=_numpy_order(order))
    edges = np.flatnonzero(bounded[1:] != bounded[:-1])
    starts = edges[::2]
    return np.stack([starts, edges[1::2] - starts], axis=1)


def format_runs(runs: Runs, *, index_base: int = 1, relative: bool = False) -> str:
    """`runs` as "start length start length …"; no runs are the empty text.

    With `relative`, the first start counts from the image's first pixel (numbered `index_base`), every other one
    is the gap after the previous run.
    """
    numbers = runs.copy()
    if relative:
        numbers[1:, 0] -= runs[:-1].sum(axis=1)
        numbers[:1, 0] += index_base
    else:
        numbers[:, 0] += index_base
    return " ".join(map(str, numbers.ravel().tolist()))


def encode(mask: NDArray[np.generic], *, order: str = "column", index_base: int = 1, relative: bool = False) -> str:
    """`mask` (H, W), values {0, 1} or bool, as text; an empty mask is the empty text.

    Raises:
        RleError: see `find_runs`.
    """
    return format_runs(find_runs(mask, order=order), index_base=index_base, relative=relative)


def parse_runs(text: str | float | None, *, index_base: int = 1, relative: bool = False) -> Runs:
    """The runs that `text` names. Empty text, and the NaN or None that tables hold in its place, are no runs.

    Strict: plain decimal numbers in pairs with blanks between them, positive lengths, sorted and disjoint (touching
    runs are accepted).
    Bounds are checked where the size is known, in `decode`.

    Raises:
        RleError: says which number is wrong (counted from 1), its value, and what was expected.
    """
    if text is None or (isinstance(text, float) and np.isnan(text)):
        return NO_RUNS
    if not isinstance(text, str):
        raise RleError(f"{text!r} is {type(text).__name__}: expected text such as '12 3 40 5'.")
    numbers = _numbers(text)
    if len(numbers) % 2:
        raise RleError(
            f"{len(numbers)} numbers, the last is {numbers[-1]}: expected pairs of start and length.", "odd counts"
        )
    runs = numbers.reshape(-1, 2)
    _refuse(runs[:, 1] == 0, runs[:, 1], 1, "a length: expected at least 1", "zero lengths")
    ends = runs.sum(axis=1, dtype=np.float64)
    far = (ends.cumsum() if relative else ends) > FARTHEST
    _refuse(far, runs[:, 0], 0, f"a start whose run ends past pixel {FARTHEST}, beyond any image", "runs past the end")
    if relative:
        runs[1:, 0] += runs[:-1, 1]
        runs[:, 0] = runs[:, 0].cumsum()
    runs[:, 0] -= index_base
    return _ordered(runs, index_base)


def decode(
    text: str | float | None,
    size: tuple[int, int],
    *,
    order: str = "column",
    index_base: int = 1,
    relative: bool = False,
) -> NDArray[np.uint8]:
    """The mask (H, W), uint8 {0, 1}, that `text` describes; `size` is (height, width).

    Raises:
        RleError: see `parse_runs`; also a run that ends outside the mask.
    """
    return draw_runs(parse_runs(text, index_base=index_base, relative=relative), size, order=order)


def draw_runs(runs: Runs, size: tuple[int, int], *, order: str = "column") -> NDArray[np.uint8]:
    """The mask (H, W), uint8 {0, 1}, with `runs` (sorted, disjoint) as foreground; `size` is (height, width).

    Raises:
        RleError: a run that ends outside the mask.
    """
    refuse_outside(runs, size)
    height, width = size
    ends = runs.sum(axis=1)
    stretches = np.diff(np.concatenate([[0], np.stack([runs[:, 0], ends], axis=1).ravel(), [height * width]]))
    flat = np.repeat(np.resize(np.array([0, 1], np.uint8), len(stretches)), stretches)
    if _numpy_order(order) == "C":
        return flat.reshape(height, width)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def unite(parts: Sequence[Runs]) -> Runs:
    """The runs of several rows of one mask, sorted; each of `parts` is sorted and disjoint.

    Raises:
        RleError: two of them hold the same pixel.
    """
    if len(parts) == 1:
        return parts[0]
    runs = np.concatenate([*parts, NO_RUNS])
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    twice = runs[1:, 0] < runs[:-1].sum(axis=1)
    if twice.any():
        first = int(runs[1:, 0][twice][0])
        raise RleError(
            f"pixel {first} (counted from 0) is in two of its {len(parts)} rows: expected it in one.",
            "overlapping rows",
        )
    return runs


def refuse_outside(runs: Runs, size: tuple[int, int]) -> None:
    """Raise an RleError where one of `runs` (sorted) ends outside a mask of `size` = (height, width)."""
    height, width = size
    end = int(runs[-1].sum()) if len(runs) else 0
    if end > height * width:
        raise RleError(
            f"the last run covers pixels {runs[-1, 0]} to {end - 1} (counted from 0): expected at most "
            f"{height * width - 1}, the last pixel of a mask of {height} x {width}.",
            "runs past the end",
        )


def area(runs: Runs) -> int:
    """The number of foreground pixels."""
    return int(runs[:, 1].sum())


def overlap(first: Runs, second: Runs) -> int:
    """The number of pixels that two sorted, disjoint sets of runs have in common; no image size is needed."""
    if not len(first) or not len(second):
        return 0
    before = np.concatenate([[0], second[:, 1].cumsum()])

    def covered(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many pixels of `second` lie before each of `pixels`."""
        last = np.searchsorted(second[:, 0], pixels, side="right") - 1
        inside = np.minimum(pixels - second[last, 0], second[last, 1])
        return np.where(last < 0, 0, before[last] + inside)

    return int((covered(first.sum(axis=1)) - covered(first[:, 0])).sum())


def _numpy_order(order: str) -> Literal["C", "F"]:
    assert order in ("column", "row"), order
    return "F" if order == "column" else "C"


def _numbers(text: str) -> NDArray[np.int64]:
    words = [word for word in text.strip().split(" ") if word]
    together = "".join(words)
    if not (together.isascii() and together.isdecimal() and max(map(len, words)) <= len(str(FARTHEST))):
        for position, word in enumerate(words, 1):
            if not (word.isascii() and word.isdecimal()):
                shown = repr(word[:40])
                negative = word[0] == "-" and word[1:].isascii() and word[1:].isdecimal()
                kind = "negative numbers" if negative else "cells that hold no numbers"
                raise RleError(f"number {position} is {shown}: expected a plain whole number, then a blank.", kind)
            if len(word) > len(str(FARTHEST)):
                text = f"number {position} has {len(word)} digits: no image has more than {FARTHEST} pixels."
                raise RleError(text, "runs past the end")
    return np.array([int(word) for word in words], dtype=np.int64)


def _refuse(bad: NDArray[np.bool_], values: NDArray[np.int64], column: int, why: str, kind: str) -> None:
    """Name the first of one column's `values` that is `bad`: column 0 are the starts, 1 the lengths."""
    if bad.any():
        index = int(bad.argmax())
        raise RleError(f"number {2 * index + column + 1} is {values[index]}, {why}.", kind)


def _ordered(runs: Runs, index_base: int) -> Runs:
    if len(runs):
        if runs[0, 0] < 0:
            first = runs[0, 0] + index_base
            raise RleError(
                f"number 1 is {first} and is a start: the first pixel has the number {index_base}.",
                "starts before the first pixel",
            )
        ends = runs[:-1].sum(axis=1)
        early = runs[1:, 0] < ends
        if early.any():
            index = int(early.argmax())
            raise RleError(
                f"number {2 * index + 3} is {runs[index + 1, 0] + index_base} and starts a run before the previous "
                f"one ends, at {ends[index] - 1 + index_base}: expected sorted runs that do not overlap.",
                "unsorted runs" if runs[index + 1, 0] < runs[index, 0] else "overlapping runs",
            )
    return runs
