"""The table and the page of a loss laboratory, from what its runs have stored."""

from collections import Counter
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from saltern.files import atomic, write_text
from saltern.metrics.calibration import BINS, Reliability
from saltern.report import loss_figures
from saltern.report.coverage import NAMES, coverage_bins
from saltern.report.loss_table import Evidence, LossRow, conclusion, ground_of, loss_rows, summary, verdict
from saltern.report.page import render
from saltern.runs.laboratory import LaboratoryDir


def write_losses(folder: LaboratoryDir, evidence: Evidence) -> list[LossRow]:
    """Write `table.csv` and `report.html` into the laboratory; returns the rows, the baseline first.

    Raises:
        RunError: runs that were not scored on the same images.
    """
    rows = loss_rows(evidence)
    with atomic(folder.table) as temporary:
        pd.DataFrame([row.cells() for row in rows]).to_csv(temporary, index=False)
    write_text(folder.report, render("losses.html", _context(folder, evidence, rows)))
    return rows


def _context(folder: LaboratoryDir, evidence: Evidence, rows: list[LossRow]) -> dict[str, Any]:
    compared = [row.tuned for row in rows if row.tuned is not None]
    return {
        "name": folder.path.name,
        "evidence": evidence,
        "rows": rows,
        "verdicts": {row.name: verdict(row) for row in rows},
        "summary": summary(rows, evidence),
        "conclusions": [conclusion(row) for row in rows if row.tuned is not None],
        "images": compared[0].images,
        "clusters": compared[0].interval.clusters,
        "level": 100 - 5 / len(compared),
        "ground": ground_of(evidence),
        "classes": [name for name in NAMES if name in rows[0].classes],
        "bins": BINS,
        "figures": [Markup(svg) for svg in _figures(evidence, rows)],
    }


def _figures(evidence: Evidence, rows: list[LossRow]) -> list[str]:
    ids = evidence.losses[evidence.baseline].nested[0]["id"]
    bins = coverage_bins(np.array([evidence.coverage[name] for name in ids]))
    counts = Counter(NAMES[number] for number in bins)
    pooled = {row.name: reduce(Reliability.plus, row.runs.reliability) for row in rows}
    drawn = [
        loss_figures.reliabilities(pooled),
        loss_figures.classes(rows, counts, evidence.score),
        loss_figures.learning({row.name: row.runs.metrics for row in rows}, f"val_{evidence.monitor}"),
    ]
    if any(row.tuned is not None and row.tuned.interval.said for row in rows):
        drawn.insert(0, loss_figures.loss_intervals(rows, evidence.score))
    return drawn
