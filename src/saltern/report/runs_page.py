"""The table of runs as CSV and as a page that a click sorts."""

import csv
import json
from pathlib import Path
from typing import Any

from saltern.files import atomic, write_text
from saltern.report.page import Card, render
from saltern.report.runs_table import Entry, Table

COLUMNS = (
    "run", "state", "wrong", "ensemble", "tuned_for", "score", "score_is", "low", "high", "images", "folds", "hours",
    "machine", "not_comparable",
)  # fmt: skip
"""Of the CSV, before one for each key of the config in which runs differ."""


def write_runs_csv(path: Path, table: Table) -> None:
    """A row a run: COLUMNS, then its values of every key that differs somewhere, as JSON where they are no text."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*COLUMNS, *table.keys])
        for entry in table.entries:
            leaves = entry.found.leaves or {}
            writer.writerow([*_cells(entry), *(_plain(leaves[key]) if key in leaves else "" for key in table.keys)])


def _cells(entry: Entry) -> list[Any]:
    found = entry.found
    return [
        found.name, found.state, "; ".join(found.wrong), found.ensemble, found.tuned_for, found.score, found.kind,
        found.low, found.high, found.images or "", found.folds, found.hours, found.machine,
        "; ".join(entry.incomparable),
    ]  # fmt: skip


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def write_runs_page(path: Path, table: Table) -> None:
    """The page: the same, with what differs as words, and what is wrong with runs that are not finished."""
    states = [entry.found.state for entry in table.entries]
    cards = [Card("runs", str(len(states)), "below this folder")]
    if table.reference is not None and table.reference.score is not None:
        note = f"{table.reference.tuned_for}, {table.reference.kind}"
        cards.append(Card(table.reference.name, f"{table.reference.score:.4f}", note))
    cards += [Card(word, str(states.count(word)), "named below") for word in ("unfinished", "broken") if word in states]
    hours = [entry.found.hours for entry in table.entries if entry.found.hours is not None]
    if hours:
        cards.append(Card("hours", f"{sum(hours):.2f}", f"of training, in {len(hours)} runs"))
    write_text(path, render("runs.html", {"table": table, "cards": cards, "folder": path.parent.name}))
