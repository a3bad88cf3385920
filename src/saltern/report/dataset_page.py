"""One self-contained page about a data set: its figures, what was noticed, and pictures of every suspect."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saltern.data.check.examine import DatasetReport
from saltern.data.check.findings import ERROR, INFO, WARNING, Finding
from saltern.data.source.dataset import Dataset
from saltern.files import write_text
from saltern.report.facts import Fact
from saltern.report.page import Card, Group, Shot, render
from saltern.report.pictures import picture

SHOTS = {ERROR: 240, WARNING: 240, INFO: 48}
"""Most pictures of one finding, by its severity; the ids of all are in `dataset_report.json`."""


@dataclass(frozen=True)
class Shown:
    """A finding, and its pictures where it has some."""

    finding: Finding
    group: Group | None


def write_dataset_page(path: Path, report: DatasetReport, dataset: Dataset | None) -> None:
    """Write the page at `path`.

    Args:
        path: the HTML file; replaced in one step.
        report: what the check found.
        dataset: the pictures come from it; None where it could not be opened, and the page shows words alone.

    Raises:
        DataError: a suspect's file can no longer be read.
    """
    rows = {} if dataset is None else _rows(dataset)
    truth = set() if dataset is None else set(dataset.train["id"][dataset.has_truth(dataset.train)])
    shown = []
    for number, finding in enumerate(report.findings, 1):
        most = SHOTS[finding.severity]
        shots = [_shot(dataset, rows[name], name in truth) for name in finding.suspects[:most] if name in rows]
        shown.append(Shown(finding, _group(finding, shots, f"finding-{number}") if shots else None))
    fullest = max([1, *(count for _, count in report.coverage)])
    context = {
        "report": report,
        "cards": _cards(report),
        "shown": shown,
        "groups": [item.group for item in shown if item.group],
        "coverage": [(name, count, 100 * count / fullest) for name, count in report.coverage],
        "facts": _facts(report),
    }
    write_text(path, render("dataset.html", context))


def _rows(dataset: Dataset) -> dict[str, Any]:
    tables = (dataset.test, dataset.train)
    return {str(row.id): row for table in tables for row in table.itertuples(index=False)}


def _group(finding: Finding, shots: list[Shot], anchor: str) -> Group:
    more = finding.count - len(shots)
    note = f"{finding.text} Not shown: {more}." if more > 0 else finding.text
    return Group(finding.kind, note, shots, anchor)


def _shot(dataset: Dataset | None, row: Any, labelled: bool) -> Shot:
    assert dataset is not None, "a row without a data set"
    image = dataset.read_image(row)
    target = dataset.read_mask(row) if labelled else np.zeros(image.shape[:2], np.uint8)
    note = f"{row.height} x {row.width}, " + (f"coverage {row.coverage:.2%}" if labelled else "test")
    return Shot(row.id, picture(image, {}, target), note)


def _cards(report: DatasetReport) -> list[Card]:
    counts = Counter(finding.severity for finding in report.findings)
    verdict = [Card(f"{name}s", str(counts[name]), note) for name, note in (
        ("error", "cannot be right"), ("warning", "look before you train"))]  # fmt: skip
    images = [Card(f"{name} images", f"{count:,}", "") for name, count in report.counts.items()]
    return [*images, *verdict, Card("checked in", f"{report.seconds:.1f} s", "")]


def _facts(report: DatasetReport) -> list[Fact]:
    tables = {
        "sizes, labelled (height x width)": report.sizes.get("labelled", {}),
        "sizes, test": report.sizes.get("test", {}),
        "pixel types": report.modes,
        "mask kinds": report.mask_kinds,
        "mask values": report.mask_values,
    }
    return [
        Fact(name, ", ".join(f"{value}: {count:,}" for value, count in table.items()))
        for name, table in tables.items()
        if table
    ]
