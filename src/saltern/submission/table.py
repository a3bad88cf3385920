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

Sizes = Mapping[str, tuple[int, int]]
"""Id → (height, width) of its image, pixels."""


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
    digest: bytes
    empty: bool


def write_submission(
    path: Path,
    masks: Iterable[tuple[str, NDArray[Any]]],
    ids: Sequence[str],
    sizes: Sizes,
    form: SubmissionConfig,
) -> SubmissionProof:
    """Write one row for each of `ids`, in their order, and prove the file before it replaces an older one.

    Every mask must have the size of its image. The file is read back from disk: the header, the ids and their order
    must be right, and decoding each row at its image's size must give exactly the mask that was handed in.

    Args:
        path: of the CSV.
        masks: pairs of id and mask (H, W), {0, 1}; in any order, seen once, never held together.
        ids: of all rows, as in the competition's sample submission.
        sizes: of the images, as the data set knows them; not taken from `masks`.
        form: columns, order of pixels, index base, empty token, relative runs.

    Raises:
        DataError: ids that are missing, unknown, there twice or not UTF-8, or masks that cannot be encoded or are not
            of their image's size; lists them all.
        RunError: the proof failed; `path` is left as it was.
    """
    rows = _encode(path, masks, ids, sizes, form)
    with atomic(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([form.id_column, form.mask_column])
            writer.writerows([name, rows[name].text] for name in ids)
        _prove(path, temporary, rows, sizes, form)
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
            problems.append(f"line {line}: id {_shown(cells[0])} is there twice")
        else:
            try:
                found[cells[0]] = _runs(cells[1], form)
            except RleError as error:
                found[cells[0]] = rle.NO_RUNS
                problems.append(f"line {line}: id {_shown(cells[0])}: {error}")
    if problems:
        raise DataError.of(str(path), problems)
    return found


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
        problems = [f"id {_shown(name)} of {truth} is missing" for name in missing]
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
                yield f"id {_shown(name)}: {error}"


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
    runs = rle.find_runs(mask, order=form.order)
    text = rle.format_runs(runs, index_base=form.index_base, relative=form.relative) if len(runs) else form.empty
    return _Row(text, _digest(mask), empty=not len(runs))


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
                raise DataError(f"{path}: the header is {_shown(','.join(first))}; expected {','.join(header)!r}.")
            yield from ((reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a CSV file.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no CSV in UTF-8 ({error}). Save it again as plain comma-separated text.") from None


def _shown(text: str) -> str:
    """`text` in quotes, its beginning where it is long."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


def _is_utf8(text: str) -> bool:
    """False where a file's name is not: such bytes become lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


@contextmanager
def _cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells above 128 KiB, which the runs of a large image exceed."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
