"""The CSV files of a data set: all text, every row as long as the header."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from saltern.data.source.problems import Problems
from saltern.errors import DataError

csv.field_size_limit(1 << 30)  # the run lengths of one large mask exceed the default of 128 KiB


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A CSV with a header as text columns; an empty field is `""`, and `NA` or `007` stay as they are.

    Args:
        path: The file; UTF-8, with or without a byte order mark.
        columns: Columns it must have; others are kept too.

    Raises:
        DataError: missing, not UTF-8, a missing or repeated column, rows of another length than the header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            header = next(lines, None)
            rows = [(lines.line_num, row) for row in lines if row]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as CSV in UTF-8 ({error}). Download it again.") from error
    if not header:
        raise DataError(f"{path}: empty; expected a header with the columns {', '.join(columns)}.")
    _check_shape(path, header, rows, columns)
    return pd.DataFrame([row for _, row in rows], columns=header, dtype=str)


def _check_shape(path: Path, header: list[str], rows: list[tuple[int, list[str]]], columns: Sequence[str]) -> None:
    problems = Problems(path)
    missing = [name for name in columns if name not in header]
    if missing:
        problems.add("columns", f"no column {', '.join(missing)}; the header is {', '.join(header)}")
    for name, times in Counter(header).items():
        if times > 1:
            problems.add("columns", f"the column {name!r} stands {times} times in the header")
    for number, row in rows:
        if len(row) != len(header):
            problems.add("ragged rows", f"line {number} has {len(row)} fields; the header has {len(header)}")
    problems.raise_any()


def unique_ids(table: pd.DataFrame, path: Path, problems: Problems, column: str = "id") -> pd.DataFrame:
    """`table` with the first row of each id; ids that come again, and empty ones, become problems."""
    for name, times in table[column].value_counts().items():
        if times > 1:
            problems.add("duplicate ids", f"{path}: the id {name!r} stands {times} times; expected once")
    empty = int((table[column] == "").sum())
    if empty:
        problems.add("empty ids", f"{path}: {empty} rows without an id")
    return table[table[column] != ""].drop_duplicates(column)
