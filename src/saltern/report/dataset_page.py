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
from saltern.report.html import Card, render
from saltern.report.pictures import Picture, picture

SHOTS = {ERROR: 240, WARNING: 240, INFO: 48}
"""Most pictures of one finding, by its severity; the ids of all are in `dataset_report.json`."""


@dataclass(frozen=True)
class Suspect:
    """One image of a finding."""

    id: str
    picture: Picture
    note: str


@dataclass(frozen=True)
class Shown:
    """A finding with its pictures."""

    finding: Finding
    suspects: list[Suspect]
    more: int
    """Images concerned that are not shown."""


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
    for finding in report.findings:
        most = SHOTS[finding.severity]
        suspects = [_suspect(dataset, rows[name], name in truth) for name in finding.suspects[:most] if name in rows]
        shown.append(Shown(finding, suspects, finding.count - len(suspects) if suspects else 0))
    fullest = max([1, *(count for _, count in report.coverage)])
    context = {
        "report": report,
        "cards": _cards(report),
        "shown": shown,
        "coverage": [(name, count, 100 * count / fullest) for name, count in report.coverage],
        "facts": _facts(report),
    }
    write_text(path, render("dataset.html", context))


def _rows(dataset: Dataset) -> dict[str, Any]:
    tables = (dataset.test, dataset.train)
    return {str(row.id): row for table in tables for row in table.itertuples(index=False)}


def _suspect(dataset: Dataset | None, row: Any, labelled: bool) -> Suspect:
    assert dataset is not None, "a row without a data set"
    image = dataset.read_image(row)
    target = dataset.read_mask(row) if labelled else np.zeros(image.shape[:2], np.uint8)
    note = f"{row.height} x {row.width}, " + (f"coverage {row.coverage:.2%}" if labelled else "test")
    return Suspect(row.id, picture(image, {}, target), note)


def _cards(report: DatasetReport) -> list[Card]:
    counts = Counter(finding.severity for finding in report.findings)
    verdict = [Card(f"{name}s", str(counts[name]), note) for name, note in (
        ("error", "cannot be right"), ("warning", "look before you train"))]  # fmt: skip
    images = [Card(f"{name} images", f"{count:,}", "") for name, count in report.counts.items()]
    return [*images, *verdict, Card("checked in", f"{report.seconds:.1f} s", "")]


def _facts(report: DatasetReport) -> list[tuple[str, str]]:
    tables = {
        "sizes, labelled (height x width)": report.sizes.get("labelled", {}),
        "sizes, test": report.sizes.get("test", {}),
        "pixel types": report.modes,
        "mask kinds": report.mask_kinds,
        "mask values": report.mask_values,
    }
    return [
        (name, ", ".join(f"{value}: {count:,}" for value, count in table.items()))
        for name, table in tables.items()
        if table
    ]
