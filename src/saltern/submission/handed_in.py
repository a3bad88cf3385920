"""Which files were handed in where, kept as `submitted.csv` beside the runs: no file goes twice without being asked."""

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from saltern.errors import RunError
from saltern.files import atomic


@dataclass(frozen=True)
class HandedIn:
    """One file that was handed in; a row of the table."""

    time: str
    """UTC, such as 2026-11-24T17:40:00Z."""
    competition: str
    run: str
    sha256: str
    """Of the file."""
    message: str


def read_handed_in(path: Path) -> list[HandedIn]:
    """What `path` holds; nothing where there is no such file.

    Raises:
        RunError: it is damaged, so that nobody knows what was handed in.
    """
    if not path.exists():
        return []
    names = [item.name for item in fields(HandedIn)]
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream, strict=True)) or [[]]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error}). Mend it, or delete it to forget what was handed in."
        ) from None
    if header != names or any(len(row) != len(names) for row in rows):
        raise RunError(
            f"{path}: expected the columns {', '.join(names)} in every row. Mend it, or delete it to forget what was "
            "handed in."
        )
    return [HandedIn(*row) for row in rows]


def add_handed_in(path: Path, entry: HandedIn) -> None:
    """Write `path` with one more row."""
    entries = [*read_handed_in(path), entry]
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([item.name for item in fields(HandedIn)])
        writer.writerows(astuple(item) for item in entries)
