"""`make runs`: every run below a folder, as a table, a CSV and a page."""

from pathlib import Path

from saltern.config import RunsConfig
from saltern.errors import RunError
from saltern.report.runs_found import find_runs
from saltern.report.runs_page import write_runs_csv, write_runs_page
from saltern.report.runs_table import Table, table_of


def list_runs(config: RunsConfig) -> Table:
    """Write `runs.csv` and `runs.html` below `config.outputs`; gives what stands in them.

    Raises:
        ConfigError: `against` names no run with a score.
        RunError: there is no run.
    """
    outputs = Path(config.outputs)
    runs = find_runs(outputs)
    if not runs:
        raise RunError(f"{outputs}: there is no run here yet. `make train` begins one; outputs=FOLDER looks elsewhere.")
    table = table_of(runs, config.against)
    write_runs_csv(outputs / "runs.csv", table)
    write_runs_page(outputs / "runs.html", table)
    return table
