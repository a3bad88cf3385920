"""The submission CSV: written in one step, read back and proven; read strictly; counted against a truth."""

import csv
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.errors import DataError, RunError
from saltern.files import atomic
from saltern.rle import RleError, Runs


@dataclass(frozen=True)
class SubmissionProof:
    """What was found in the file when it was read back; it exists only where everything was right."""

    rows: int
    empty: int
    """Rows whose mask is empty."""
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

    text: str
    size: tuple[int, int]
    digest: bytes
    empty: bool


def write_submission(
    path: Path, masks: Iterable[tuple[str, NDArray[Any]]], ids: Sequence[str], form: SubmissionConfig
) -> SubmissionProof:
    """Write one row for each of `ids`, in their order, and prove the file before it replaces an older one.

    The file is read back from disk: the header, the ids and their order must be right, and decoding each row must
    give exactly the mask that was handed in.

    Args:
        path: of the CSV.
        masks: pairs of id and mask (H, W), {0, 1}; in any order, seen once, never held together.
        ids: of all rows, as in the competition's sample submission.
        form: columns, order of pixels, index base, empty token, relative runs.

    Raises:
        DataError: ids that are missing, unknown or there twice, or masks that cannot be encoded; lists them all.
        RunError: the proof failed; `path` is left as it was.
    """
    rows = _encode(path, masks, ids, form)
    with atomic(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([form.id_column, form.mask_column])
            writer.writerows([name, rows[name].text] for name in ids)
        _prove(path, temporary, rows, ids, form)
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    return SubmissionProof(rows=len(ids), empty=sum(rows[name].empty for name in ids), sha256=digest)


def read_submission(path: Path, form: SubmissionConfig) -> dict[str, Runs]:
    """The runs of every id of a CSV, in the file's order. Ids stay text; blank lines are passed over.

    Raises:
        DataError: lists everything that is wrong: the header, the number of cells, blank or repeated ids, and cells
            that are neither runs nor the empty token.
    """
    found: dict[str, Runs] = {}
    problems: list[str] = []
    for line, cells in _rows(path, [form.id_column, form.mask_column]):
        if len(cells) != 2:
            problems.append(f"line {line}: {len(cells)} cells, expected 2")
        elif not cells[0]:
            problems.append(f"line {line}: no id")
        elif cells[0] in found:
            problems.append(f"line {line}: id {cells[0]!r} is there twice")
        else:
            try:
                found[cells[0]] = _runs(cells[1], form)
            except RleError as error:
                found[cells[0]] = rle.NO_RUNS
                problems.append(f"line {line}: id {cells[0]!r}: {error}")
    if problems:
        raise DataError.of(str(path), problems)
    return found


def count_submission(submission: Path, truth: Path, form: SubmissionConfig) -> SubmissionCounts:
    """Count pixels of a submission against a truth CSV of the same form, from the runs alone.

    Image sizes are not known here, so runs beyond an image's end are not noticed; they count as false positives.

    Raises:
        DataError: a file is malformed or the truth is empty, or the submission lacks ids of the truth.
    """
    submitted, true = read_submission(submission, form), read_submission(truth, form)
    if not true:
        raise DataError(f"{truth}: no rows; expected the true mask of at least one image.")
    missing = [name for name in true if name not in submitted]
    if missing:
        problems = [f"id {name!r} of {truth} is missing" for name in missing]
        raise DataError.of(str(submission), problems)
    counts = np.array([_count(submitted[name], runs) for name, runs in true.items()], dtype=np.int64)
    return SubmissionCounts(tuple(true), counts, extra=len(submitted) - len(true))


def _count(submitted: Runs, true: Runs) -> tuple[int, int, int]:
    common = rle.overlap(submitted, true)
    return common, rle.area(submitted) - common, rle.area(true) - common


def _encode(
    path: Path, masks: Iterable[tuple[str, NDArray[Any]]], ids: Sequence[str], form: SubmissionConfig
) -> Mapping[str, _Row]:
    problems = [f"id {name!r} is asked for {times} times" for name, times in Counter(ids).items() if times > 1]
    wanted = set(ids)
    rows: dict[str, _Row] = {}
    for name, mask in masks:
        if name in rows:
            problems.append(f"id {name!r}: a second mask")
        elif name not in wanted:
            problems.append(f"id {name!r}: a mask, but no row is expected")
        else:
            try:
                rows[name] = _row(mask, form)
            except RleError as error:
                wanted.discard(name)
                problems.append(f"id {name!r}: {error}")
    problems += [f"id {name!r}: no mask" for name in ids if name in wanted and name not in rows]
    if problems:
        raise DataError.of(f"{path} (not written)", problems)
    return rows


def _row(mask: NDArray[Any], form: SubmissionConfig) -> _Row:
    runs = rle.find_runs(mask, order=form.order)
    text = rle.format_runs(runs, index_base=form.index_base, relative=form.relative) if len(runs) else form.empty
    return _Row(text, (mask.shape[0], mask.shape[1]), _digest(mask), empty=not len(runs))


def _digest(mask: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(mask, dtype=np.uint8).tobytes(), digest_size=16).digest()


def _prove(path: Path, temporary: Path, rows: Mapping[str, _Row], ids: Sequence[str], form: SubmissionConfig) -> None:
    """Read `temporary` back; `path` is what it is to become."""
    try:
        found = read_submission(temporary, form)
        if list(found) != list(ids):
            raise RunError("the ids differ from those that were written, or their order does.")
        for name, runs in found.items():
            if _digest(rle.draw_runs(runs, rows[name].size, order=form.order)) != rows[name].digest:
                raise RunError(f"id {name!r}: decoding {rows[name].text[:60]!r} does not give back its mask.")
    except (DataError, RleError, RunError) as error:
        raise RunError(
            f"{path}: not written, because reading it back did not give what was written. {error}\n"
            f"Expected every row as it was handed in; check the disk, and the form of the submission: {form}."
        ) from error


def _runs(cell: str, form: SubmissionConfig) -> Runs:
    if cell.strip() == form.empty.strip():
        return rle.NO_RUNS
    if not cell.strip():
        raise RleError(f"blank; an empty mask is written as {form.empty!r}.")
    return rle.parse_runs(cell, index_base=form.index_base, relative=form.relative)


def _rows(path: Path, header: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row below the header; blank lines are passed over."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, _cells_of_any_length():
            reader = csv.reader(file, strict=True)
            first = next(reader, [])
            if first != header:
                raise DataError(f"{path}: the header is {','.join(first)!r}; expected {','.join(header)!r}.")
            yield from ((reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a CSV file.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no CSV in UTF-8 ({error}). Save it again as plain comma-separated text.") from None


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells above 128 KiB, which the runs of a large image exceed."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
