"""The CSV files of a data set: all text, every row as long as the header."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from saltern.data.source.limits import MAX_CELL, MAX_CELLS, MAX_TABLE_BYTES, require_file
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError

csv.field_size_limit(MAX_CELL)  # the run lengths of one large mask exceed the default of 128 KiB
_BLOCK = 16 << 20
"""Bytes read at once."""
_SOME = 500
"""Rows turned into columns at once: gone before Python's garbage collection counts them as old, and looks at all."""


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV with a header as text columns; an empty field is `""`, and `NA` or `007` stay as they are.

    Args:
        path: The file; UTF-8, with or without a byte order mark.
        columns: Columns it must have; others are kept too.

    Raises:
        DataError: missing, no regular file, not UTF-8, a missing or repeated column, rows of another length than the
            header; more than `MAX_TABLE_BYTES`, `MAX_CELLS` (blank lines count as one cell) or `MAX_CELL` characters.
    """
    require_file(path, MAX_TABLE_BYTES)
    _refuse_zero_bytes(path)
    problems = Problems(path)
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            header = next(lines, [])
            if not header:
                raise DataError(f"{path}: empty; expected a header with the columns {', '.join(columns)}.")
            _check_header(header, columns, problems)
            problems.raise_any()
            content = _columns(lines, header, problems)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        if "field limit" in str(error):
            where = f"{path}: line {lines.line_num + 1}"
            raise DataError(f"{where}: a cell of more than {MAX_CELL:,} characters, the most that are read.") from None
        raise DataError(f"{path}: not readable as CSV in UTF-8 ({error}). Download it again.") from error
    problems.raise_any()
    return pd.DataFrame(dict(zip(header, content, strict=True)), columns=header, dtype=str)


def _refuse_zero_bytes(path: Path) -> None:
    """Text has none; here they stand between the parts of one mask, so that none may come from outside."""
    try:
        with path.open("rb") as raw:
            while block := raw.read(_BLOCK):
                if b"\0" in block:
                    raise DataError(f"{path}: holds zero bytes, so it is no text (or UTF-16). Save it as CSV in UTF-8.")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def _check_header(header: list[str], columns: Sequence[str], problems: Problems) -> None:
    missing = [name for name in columns if name not in header]
    if missing:
        cut = [name if len(name) <= 80 else f"{name[:80]}…" for name in header[:12]]
        found = ", ".join(cut) + (f", … ({len(header):,} columns)" if len(header) > 12 else "")
        problems.add("columns", f"no column {', '.join(missing)}; the header is {found}")
    for name, times in Counter(header).items():
        if times > 1:
            problems.add("columns", f"the column {shown(name)} stands {times} times in the header")


def _columns(lines: Any, header: list[str], problems: Problems) -> list[list[str]]:
    """What stands below the header, column by column: a list of rows would take three times the memory."""
    content: list[list[str]] = [[] for _ in header]
    width, most = len(header), MAX_CELLS // len(header)
    numbered: Iterator[tuple[int, list[str]]] = ((lines.line_num, row) for row in lines)
    read = 0
    while some := list(islice(numbered, _SOME)):
        read += len(some)
        if read > most:
            raise DataError(
                f"{problems.where}: more than {most:,} rows of {width:,} columns; at most {MAX_CELLS:,} cells are read."
            )
        for number, row in some:
            if row and len(row) != width:
                problems.add("ragged rows", f"line {number} has {len(row)} fields; the header has {width}")
        rows = [row for _, row in some if len(row) == width]
        for column, values in zip(content, zip(*rows, strict=True), strict=False):
            column.extend(values)
    return content


def unique_ids(table: pd.DataFrame, path: Path, problems: Problems, column: str = "id") -> pd.DataFrame:
    """`table` with the first row of each id; ids that come again, and empty ones, become problems."""
    for name, times in table[column].value_counts().items():
        if times > 1:
            problems.add("duplicate ids", f"{path}: the id {shown(str(name))} stands {times} times; expected once")
    empty = int((table[column] == "").sum())
    if empty:
        problems.add("empty ids", f"{path}: {empty} rows without an id")
    return table[table[column] != ""].drop_duplicates(column)
