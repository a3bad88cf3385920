"""A submission CSV as rows with line numbers, read strictly; an id's rows are one mask."""

import csv
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.errors import DataError
from saltern.rle import RleError, Runs
from saltern.submission.rows import columns_of, parse_cell, unite


@dataclass(frozen=True)
class Line:
    """A row below the header."""

    number: int
    """Of the file's line that it ends on, from 1."""
    cells: list[str]


def read_submission(path: Path, form: SubmissionConfig) -> dict[str, Runs]:
    """The runs of every id of a CSV, in the file's order. Ids stay text; blank lines are passed over.

    Where `form` has a row an instance, the rows of an id are united.

    Raises:
        DataError: lists everything that is wrong: the header, the number of cells, blank ids or ids without the form's
            suffix, repeated ids, constants that differ, rows of one id that overlap, and cells that are neither runs
            nor the empty token.
    """
    parts: dict[str, list[Runs]] = {}
    last: dict[str, int] = {}
    problems: list[str] = []
    columns, several = columns_of(form), form.rows == "instance"
    for line in rows_below(path, columns):
        where = f"line {line.number}"
        fault = fault_of(line.cells, columns, form)
        if fault:
            problems.append(f"{where}: {fault}")
            continue
        name, cell = own_cells(line.cells, columns, form)
        if name in parts and not several:
            problems.append(f"{where}: id {shown(name)} is there twice")
            continue
        last[name] = line.number
        try:
            parts.setdefault(name, []).append(parse_cell(cell, form))
        except RleError as error:
            problems.append(f"{where}: id {shown(name)}: {error}")
    found: dict[str, Runs] = {}
    for name, runs in parts.items():
        try:
            found[name] = unite(runs) if runs else rle.NO_RUNS
        except RleError as error:
            problems.append(f"line {last[name]}: id {shown(name)}: {error}")
    if problems:
        raise DataError.of(str(path), problems)
    return found


def own_cells(cells: Sequence[str], columns: Sequence[str], form: SubmissionConfig) -> tuple[str, str]:
    """Id, without the form's suffix, and run lengths of a row in which `fault_of` finds nothing."""
    name = cells[columns.index(form.id_column)]
    return name.removesuffix(form.suffix), cells[columns.index(form.mask_column)]


def fault_of(cells: Sequence[str], columns: Sequence[str], form: SubmissionConfig) -> str:
    """What is wrong with a row but for its run lengths; empty where nothing is."""
    if len(cells) != len(columns):
        return f"{len(cells)} cells, expected {len(columns)}"
    values = dict(zip(columns, cells, strict=True))
    name = values[form.id_column]
    if not name or name == form.suffix:
        return "no id"
    if not name.endswith(form.suffix):
        return f"id {shown(name)} does not end in {form.suffix!r}"
    for column, text in form.constants.items():
        plain = "{" not in text  # sizes are compared where they are known
        if plain and values[column] != text:
            return f"{column} is {shown(values[column])}, expected {text!r}"
    return ""


def rows_below(path: Path, header: Sequence[str]) -> Iterator[Line]:
    """The rows below `header`; blank lines are passed over.

    Raises:
        DataError: another header, or no CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file, cells_of_any_length():
            reader = csv.reader(file, strict=True)
            first = next(reader, [])
            if first != list(header):
                raise DataError(f"{path}: the header is {shown(','.join(first))}; expected {','.join(header)!r}.")
            yield from (Line(reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a CSV file.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no CSV in UTF-8 ({error}). Save it again as plain comma-separated text.") from None


def shown(text: str) -> str:
    """`text` in quotes, its beginning where it is long."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")


@contextmanager
def cells_of_any_length() -> Iterator[None]:
    """The csv module refuses cells above 128 KiB, which the runs of a large image exceed."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
