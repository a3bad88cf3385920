"""`make runs`: every run, what it scored, what it cost, and what sets it apart."""

from pathlib import Path
from typing import TYPE_CHECKING

import console
import hydra
from omegaconf import DictConfig
from rich.text import Text

from saltern.config import resolve

if TYPE_CHECKING:
    from saltern.report.runs_table import Table


@hydra.main(version_base="1.3", config_path="../configs", config_name="runs")
@console.answering
def main(raw: DictConfig) -> None:
    """Print the table; write it as CSV and as a page."""
    config = resolve(raw)
    from saltern import pipeline

    show(pipeline.list_runs(config), Path(config.outputs))


def show(found: "Table", outputs: Path) -> None:
    """Every run in a line; then what is wrong with those that are not finished."""
    rows = []
    for entry in found.entries:
        run = entry.found
        interval = None if run.low is None or run.high is None else f"{run.low:.3f}-{run.high:.3f}"
        hours = None if run.hours is None else f"{run.hours:.2g}"
        words = "the reference" if run is found.reference else ", ".join(entry.words)
        marks = Text("; ".join(["not comparable", *entry.incomparable]) if entry.incomparable else "", style="yellow")
        last = Text("\n").join([part for part in (Text(words), marks) if part])
        state = Text(run.state, style={"broken": "red", "unfinished": "yellow"}.get(run.state, ""))
        rows.append([run.name, state, run.score, interval, hours, run.machine or None, last])
    reference = f", against {found.reference.name}" if found.reference else ""
    columns = ["run", "state", "score", "forecast", "hours", "machine", "what differs"]
    console.table(f"{len(rows)} runs below {outputs}{reference}", columns, rows)
    for entry in found.entries:
        if entry.found.wrong:
            console.say(f"{entry.found.name} ({entry.found.state}): {'; '.join(entry.found.wrong)}")
    console.say(f"  {outputs / 'runs.csv'}\n  {outputs / 'runs.html'}")


if __name__ == "__main__":
    console.enter(main)
