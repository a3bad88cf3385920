"""Any submission CSV, whoever wrote it, examined row by row: all that is wrong with it, line by line."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

from saltern import rle
from saltern.config.schema import SubmissionConfig
from saltern.rle import RleError, Runs
from saltern.submission.findings import Findings
from saltern.submission.reading import cells_of_any_length, shown
from saltern.submission.rows import columns_of, constants_of, parse_cell, unite
from saltern.submission.table import Sizes
from saltern.submission.text_lines import lines_of

DELIMITERS = (",", ";", "\t", "|")
MISSING = ("nan", "none", "null", "na", "n/a", "<na>")
"""What programs write, in any case, where a cell was missing."""


@dataclass(frozen=True)
class Expected:
    """What a file should hold."""

    form: SubmissionConfig
    ids: Sequence[str] | None = None
    """Without the form's suffix; None: unknown."""
    sizes: Sizes = field(default_factory=dict)
    """Of the images whose size is known."""
    size: tuple[int, int] | None = None
    """That of all others, (height, width); None: unknown."""

    @cached_property
    def wanted(self) -> frozenset[str]:
        """The ids, to look them up."""
        return frozenset(self.ids or ())

    def size_of(self, name: str) -> tuple[int, int] | None:
        """(height, width) of an image, pixels; None: unknown."""
        return self.sizes.get(name, self.size)


@dataclass
class Examination:
    """What was found in a file."""

    findings: Findings
    rows: int = 0
    empty: int = 0
    """Rows whose mask is empty."""
    ids: dict[str, Runs] = field(default_factory=dict)
    """Those that came, and with a row an instance the runs of their rows so far."""
    unsized: int = 0
    """Rows whose image has no known size, so that runs past its end are not noticed."""

    @property
    def is_sound(self) -> bool:
        """Whether there is no error; there may be warnings."""
        return not self.findings.count("error")


def examine(path: Path, expected: Expected, most: int = 10) -> Examination:
    """Read `path` once, row by row, and note all that is wrong with it; at most `most` problems of a kind are kept.

    Raises:
        DataError: it cannot be read at all, or is UTF-16.
    """
    found = Examination(Findings(most))
    findings, columns = found.findings, columns_of(expected.form)
    with cells_of_any_length():
        lines = lines_of(path, findings)
        first = next(lines, "")
        delimiter = _delimiter(first, columns)
        if delimiter != ",":
            findings.error(1, "delimiters", f"cells are divided by {delimiter!r}; expected a comma")
        rows = _rows(first, lines, delimiter, findings)
        header = next(rows, (1, []))[1]
        place = _places(header, columns, findings)
        if place is None:
            return found
        if _is_row(header, place, expected):
            _examine_row(1, header, len(header), place, expected, found)
        for number, cells in rows:
            _examine_row(number, cells, len(header), place, expected, found)
    for name in expected.ids or ():
        if name not in found.ids:
            findings.error(None, "missing ids", f"id {shown(name + expected.form.suffix)} is missing")
    if not found.rows:
        findings.error(None, "empty files", "there are no rows; expected one for each image")
    return found


def _delimiter(header: str, columns: Sequence[str]) -> str:
    """What divides the cells: a comma, unless the header has just as many of another as it should have commas."""
    counts = {mark: header.count(mark) for mark in DELIMITERS}
    others = [mark for mark in DELIMITERS[1:] if counts[mark] == len(columns) - 1]
    return others[0] if others and not counts[","] else ","


def _rows(first: str, lines: Iterator[str], delimiter: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and cells, of each row; blank lines and broken quotes are told and passed over."""
    quoted = False

    def watched() -> Iterator[str]:
        nonlocal quoted
        for line in chain([first] if first else [], lines):
            quoted = quoted or '"' in line
            yield line

    reader = csv.reader(watched(), strict=True, delimiter=delimiter)
    while True:
        quoted, number = False, reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            text = f"quotes that do not fit ({error}); lines {number} to {reader.line_num} are not read"
            findings.error(number, "broken quotes", text)
            continue
        if cells is None:
            return
        if not cells:
            findings.warning(number, "blank lines", "is blank")
            continue
        if quoted and not any(mark in cell for cell in cells for mark in (delimiter, '"', "\n")):
            text = "holds cells in quotes that need none; some readers keep them"
            findings.warning(number, "quoted cells", text)
        yield number, cells


def _places(header: Sequence[str], columns: Sequence[str], findings: Findings) -> Mapping[str, int] | None:
    """Column → where it stands; None where that cannot be said."""
    places = {column: header.index(column) for column in columns if column in header}
    if list(header) == list(columns):
        return places
    text = f"the header is {shown(','.join(header))}; expected {','.join(columns)!r}"
    if len(places) == len(columns):
        findings.error(1, "headers", f"{text}; the columns are read by their names")
        return places
    if len(header) == len(columns):
        findings.error(1, "headers", f"{text}; the columns are read in that order")
        return {column: place for place, column in enumerate(columns)}
    findings.error(1, "headers", f"{text}; nothing more is examined")
    return None


def _is_row(header: Sequence[str], place: Mapping[str, int], expected: Expected) -> bool:
    """Whether what should be the header is the row of an image."""
    form = expected.form
    if form.id_column in header or form.mask_column in header:
        return False
    name = header[place[form.id_column]].removesuffix(form.suffix)
    if expected.ids is not None:
        return name in expected.wanted
    return any(letter.isdigit() for letter in header[place[form.mask_column]])


def _examine_row(
    line: int, cells: Sequence[str], width: int, place: Mapping[str, int], expected: Expected, found: Examination
) -> None:
    findings, form = found.findings, expected.form
    found.rows += 1
    if len(cells) != width:
        findings.error(line, "torn rows", f"{len(cells)} cells; the header has {width}")
        return
    name = _examine_id(line, cells[place[form.id_column]], expected, found)
    runs = _examine_mask(line, cells[place[form.mask_column]], form, findings)
    if name is None:
        return
    size = expected.size_of(name)
    found.unsized += size is None
    for column, text in (constants_of(form, size) if size else form.constants).items():
        cell = cells[place[column]]
        if cell != text and (size is not None or "{" not in text):
            findings.error(line, "other constants", f"{column} is {shown(cell)}; expected {text!r}")
    if runs is None:
        found.ids.setdefault(name, rle.NO_RUNS)
        return
    found.empty += not len(runs)
    try:
        if size is not None:
            rle.refuse_outside(runs, size)
        _add(line, name, runs, form, found)
    except RleError as error:
        found.ids.setdefault(name, rle.NO_RUNS)
        findings.error(line, error.kind, f"id {shown(name)}: {error}")


def _add(line: int, name: str, runs: Runs, form: SubmissionConfig, found: Examination) -> None:
    if name not in found.ids:
        found.ids[name] = runs if form.rows == "instance" else rle.NO_RUNS
    elif form.rows == "image":
        found.findings.error(line, "duplicate ids", f"id {shown(name)} was there before; expected it once")
    else:
        found.ids[name] = unite([found.ids[name], runs])


def _examine_id(line: int, cell: str, expected: Expected, found: Examination) -> str | None:
    """The id without its suffix; None where there is none."""
    findings, suffix = found.findings, expected.form.suffix
    if not cell.removesuffix(suffix).strip():
        findings.error(line, "missing names", "there is no id")
        return None
    name = cell.removesuffix(suffix)
    if not cell.endswith(suffix):
        findings.error(line, "ids without the suffix", f"id {shown(cell)} does not end in {suffix!r}")
    elif expected.ids is not None and name not in expected.wanted:
        near = name.strip()
        hint = f"; is {near!r} meant?" if near != name and near in expected.wanted else ""
        findings.error(line, "foreign ids", f"id {shown(cell)} is not asked for{hint}")
    return name


def _examine_mask(line: int, cell: str, form: SubmissionConfig, findings: Findings) -> Runs | None:
    """The runs of a cell; None where it holds none."""
    if cell.strip().lower() in MISSING and cell.strip() != form.empty.strip():
        text = f"the mask is {shown(cell)}; an empty one is written as {form.empty!r}"
        findings.error(line, "missing masks", text)
        return None
    try:
        return parse_cell(cell, form)
    except RleError as error:
        findings.error(line, error.kind, str(error))
        return None
