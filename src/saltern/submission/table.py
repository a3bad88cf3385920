"""The submission CSV: written in one step, read back and proven; read strictly; counted against a truth."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.errors import DataError, RunError
from saltern.files import atomic
from saltern.rle import RleError, Runs
from saltern.submission.reading import own_cells, read_submission, rows_below, shown
from saltern.submission.rows import cells_of, columns_of, parse_cell, texts_of

Sizes = Mapping[str, tuple[int, int]]
"""Id → (height, width) of its image, pixels."""


@dataclass(frozen=True)
class SubmissionProof:
    """What was found in the file when it was read back; it exists only where everything was right."""

    rows: int
    empty: int
    """Images whose mask is empty."""
    sha256: str
    """Of the file's bytes."""


@dataclass(frozen=True)
class SubmissionCounts:
    """A submission against a truth: one row of counts for each id of the truth."""

    ids: tuple[str, ...]
    counts: NDArray[np.int64]
    """(N, 3): true positives, false positives, false negatives, in pixels."""
    extra: int
    """Submitted ids that the truth does not hold (it may cover a part of the test images); they are not counted."""


@dataclass(frozen=True)
class _Row:
    """What is kept of a mask until the file is proven: its text, and enough to recognise it again."""

    texts: list[str]
    """One, or one a component."""
    digest: bytes
    empty: bool


def write_submission(
    path: Path,
    masks: Iterable[tuple[str, NDArray[Any]]],
    ids: Sequence[str],
    sizes: Sizes,
    form: SubmissionConfig,
) -> SubmissionProof:
    """Write the rows of each of `ids`, in their order, and prove the file before it replaces an older one.

    Every mask must have the size of its image. The file is read back from disk: the header, the ids and their order
    must be right, and decoding an id's rows at its image's size must give exactly the mask that was handed in; with
    `rows: instance` no two rows may overlap, and each must be one component of the mask, as scipy finds them.

    Args:
        path: of the CSV.
        masks: pairs of id and mask (H, W), {0, 1}; in any order, seen once, never held together.
        ids: of all rows, as in the competition's sample submission.
        sizes: of the images, as the data set knows them; not taken from `masks`.
        form: columns, rows, order of pixels, index base, empty token, relative runs.

    Raises:
        DataError: ids that are missing, unknown, there twice or not UTF-8, or masks that cannot be encoded or are not
            of their image's size; lists them all.
        RunError: the proof failed; `path` is left as it was.
    """
    rows = _encode(path, masks, ids, sizes, form)
    with atomic(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns_of(form))
            writer.writerows(cells_of(form, name, text, sizes[name]) for name in ids for text in rows[name].texts)
        _prove(path, temporary, rows, sizes, form)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    count = sum(len(rows[name].texts) for name in ids)
    return SubmissionProof(rows=count, empty=sum(rows[name].empty for name in ids), sha256=digest)


def count_submission(submission: Path, truth: Path, sizes: Sizes, form: SubmissionConfig) -> SubmissionCounts:
    """Count pixels of a submission against a truth CSV of the same form, from the runs alone.

    Pixels past an image's end can only be noticed where `sizes` holds its id; elsewhere they count as false positives.

    Raises:
        DataError: a file is malformed or the truth is empty, the submission lacks ids of the truth, or runs end past
            an image's end.
    """
    submitted, true = read_submission(submission, form), read_submission(truth, form)
    if not true:
        raise DataError(f"{truth}: no rows; expected the true mask of at least one image.")
    missing = [name for name in true if name not in submitted]
    if missing:
        problems = [f"id {shown(name)} of {truth} is missing" for name in missing]
        raise DataError.of(str(submission), problems)
    for path, found in ((submission, submitted), (truth, true)):
        if problems := list(_outside(found, sizes)):
            raise DataError.of(str(path), problems)
    counts = np.array([_count(submitted[name], runs) for name, runs in true.items()], dtype=np.int64)
    return SubmissionCounts(tuple(true), counts, extra=len(submitted) - len(true))


def _outside(found: Mapping[str, Runs], sizes: Sizes) -> Iterator[str]:
    for name, runs in found.items():
        if name in sizes:
            try:
                rle.refuse_outside(runs, sizes[name])
            except RleError as error:
                yield f"id {shown(name)}: {error}"


def _count(submitted: Runs, true: Runs) -> tuple[int, int, int]:
    common = rle.overlap(submitted, true)
    return common, rle.area(submitted) - common, rle.area(true) - common


def _encode(
    path: Path,
    masks: Iterable[tuple[str, NDArray[Any]]],
    ids: Sequence[str],
    sizes: Sizes,
    form: SubmissionConfig,
) -> Mapping[str, _Row]:
    problems = [f"id {name!r} is asked for {times} times" for name, times in Counter(ids).items() if times > 1]
    problems += [f"id {name!r} is no text in UTF-8; rename the image" for name in ids if not _is_utf8(name)]
    wanted = set(ids)
    rows: dict[str, _Row] = {}
    for name, mask in masks:
        if name in rows:
            problems.append(f"id {name!r}: a second mask")
        elif name not in wanted:
            problems.append(f"id {name!r}: a mask, but no row is expected")
        else:
            try:
                rows[name] = _row(mask, sizes[name], form)
            except RleError as error:
                wanted.discard(name)
                problems.append(f"id {name!r}: {error}")
    problems += [f"id {name!r}: no mask" for name in ids if name in wanted and name not in rows]
    if problems:
        raise DataError.of(f"{path} (not written)", problems)
    return {name: rows[name] for name in ids}


def _row(mask: NDArray[Any], size: tuple[int, int], form: SubmissionConfig) -> _Row:
    if mask.shape != size:
        raise RleError(f"mask of shape {mask.shape}: its image has {size[0]} x {size[1]} pixels (height x width).")
    return _Row(texts_of(mask, form), _digest(mask), empty=not np.any(mask))


def _digest(mask: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(mask, dtype=np.uint8).tobytes(), digest_size=16).digest()


def _prove(path: Path, temporary: Path, rows: Mapping[str, _Row], sizes: Sizes, form: SubmissionConfig) -> None:
    """Read `temporary` back; `path` is what it is to become, `rows` are in the file's order."""
    try:
        found = read_submission(temporary, form)
        if list(found) != list(rows):
            raise RunError("the ids differ from those that were written, or their order does.")
        for name, runs in found.items():
            if _digest(rle.draw_runs(runs, sizes[name], order=form.order)) != rows[name].digest:
                raise RunError(
                    f"id {name!r}: decoding {' '.join(rows[name].texts)[:60]!r} does not give back its mask."
                )
        if form.rows == "instance" or form.constants:
            _prove_rows(temporary, sizes, form)
    except (DataError, RleError, RunError) as error:
        raise RunError(
            f"{path}: not written, because reading it back did not give what was written. {error}\n"
            f"Expected every row as it was handed in; check the disk, and the form of the submission: {form}."
        ) from error


def _prove_rows(temporary: Path, sizes: Sizes, form: SubmissionConfig) -> None:
    """Make sure that the constants of every row are right, and that each row of an instance is one component.

    `read_submission` has found that rows of one id do not overlap and together are the mask: where each lies in one
    component, and there are as many of them, they are the components.
    """
    columns = columns_of(form)
    of_id = groupby(rows_below(temporary, columns), lambda line: own_cells(line.cells, columns, form)[0])
    for name, lines in of_id:
        texts = []
        for line in lines:
            texts.append(own_cells(line.cells, columns, form)[1])
            expected = cells_of(form, name, texts[-1], sizes[name])
            if line.cells != expected:
                raise RunError(f"line {line.number}: {line.cells[:4]}; expected {expected[:4]}.")
        if form.rows == "instance":
            _prove_components(name, [parse_cell(text, form) for text in texts], sizes[name], form)


def _prove_components(name: str, parts: Sequence[Runs], size: tuple[int, int], form: SubmissionConfig) -> None:
    drawn = [rle.draw_runs(part, size, order=form.order) for part in parts]
    touching = np.ones((3, 3), np.uint8) if form.connectivity == 8 else None
    labels, count = ndimage.label(np.any(drawn, axis=0), touching)
    torn = [part for part in drawn if part.any() and len(np.unique(labels[part == 1])) != 1]
    if torn or sum(part.any() for part in drawn) != count:
        raise RunError(f"id {name!r}: its {len(parts)} rows are not the {count} components of its mask.")


def _is_utf8(text: str) -> bool:
    """False where a file's name is not: such bytes become lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
