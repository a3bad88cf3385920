"""What stands in the rows of a submission: columns, a cell of run lengths a mask or a component, the empty token."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.rle import RleError, Runs


def columns_of(form: SubmissionConfig) -> list[str]:
    """The header."""
    return list(form.columns) or [form.id_column, form.mask_column, *form.constants]


def constants_of(form: SubmissionConfig, size: tuple[int, int]) -> dict[str, str]:
    """Column → its text in each row of an image of `size` = (height, width), pixels."""
    height, width = map(str, size)
    return {name: text.replace("{height}", height).replace("{width}", width) for name, text in form.constants.items()}


def cells_of(form: SubmissionConfig, name: str, text: str, size: tuple[int, int]) -> list[str]:
    """One row: that of the id `name` whose run lengths are `text`."""
    values: Mapping[str, str] = {
        form.id_column: name + form.suffix,
        form.mask_column: text,
        **constants_of(form, size),
    }
    return [values[column] for column in columns_of(form)]


def texts_of(mask: NDArray[Any], form: SubmissionConfig) -> list[str]:
    """The run lengths of the rows of `mask` (H, W), {0, 1}: one, or with `rows: instance` one a component.

    Raises:
        RleError: see `rle.find_runs`.
    """
    runs = rle.find_runs(mask, order=form.order)
    if not len(runs):
        return [form.empty]
    parts = split(mask, form) if form.rows == "instance" else [runs]
    return [rle.format_runs(part, index_base=form.index_base, relative=form.relative) for part in parts]


def split(mask: NDArray[Any], form: SubmissionConfig) -> list[Runs]:
    """The runs of each connected component of `mask` (H, W), {0, 1}, in the order of their first pixels.

    A run never holds two components, also where one ends at the foot of a column and another begins at the head of the
    next.
    """
    _, labels = cv2.connectedComponents(np.ascontiguousarray(mask, dtype=np.uint8), connectivity=form.connectivity)
    flat = labels.ravel(order="F" if form.order == "column" else "C")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges]).astype(np.int64)
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    of_run = flat[starts]
    runs, of_run = np.stack([starts, lengths], axis=1)[of_run > 0], of_run[of_run > 0]
    by_label = np.argsort(of_run, kind="stable")
    groups = np.split(runs[by_label], np.flatnonzero(np.diff(of_run[by_label])) + 1)
    return sorted(groups, key=lambda group: int(group[0, 0]))


def parse_cell(cell: str, form: SubmissionConfig) -> Runs:
    """The runs that a cell names; none for the empty token.

    Raises:
        RleError: it is neither.
    """
    if cell.strip() == form.empty.strip():
        return rle.NO_RUNS
    if not cell.strip():
        raise RleError(f"blank; an empty mask is written as {form.empty!r}.", "blank cells")
    return rle.parse_runs(cell, index_base=form.index_base, relative=form.relative)


def unite(parts: Sequence[Runs]) -> Runs:
    """The runs of an id that has `parts` as rows.

    Raises:
        RleError: one of several rows is empty, or two hold the same pixel.
    """
    if len(parts) > 1 and not all(map(len, parts)):
        raise RleError(
            f"{len(parts)} rows, and one of them is an empty mask: expected that row alone, or none.",
            "empty rows among others",
        )
    return rle.unite(parts)
