"""What is wrong with a data set, before an hour is spent on it."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from saltern.config import DatasetConfig, FolderConfig
from saltern.data.check.findings import ERROR, INFO, SEVERITIES, WARNING, Finding, find_all
from saltern.data.check.inspection import Inspection, inspect_dataset
from saltern.data.layouts.opening import open_dataset
from saltern.data.likeness.looks import Looks
from saltern.data.source.csvs import read_csv
from saltern.data.source.dataset import Dataset
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError
from saltern.progress import Progress

HISTOGRAM = (0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Borders of the coverage histogram; empty and full masks are counted apart from it."""


@dataclass(frozen=True)
class DatasetReport:
    """What `check_dataset` found; `as_dict` is ready for JSON."""

    root: str
    layout: str
    findings: list[Finding]
    """Errors first, then warnings, then information."""
    counts: dict[str, int] = field(default_factory=dict)
    """`labelled`, `test`; empty where the data set could not be opened."""
    sizes: dict[str, dict[str, int]] = field(default_factory=dict)
    """`labelled` and `test` → "height x width" → images, the most common first (24 at most)."""
    modes: dict[str, int] = field(default_factory=dict)
    """Pixel type of the image files → images."""
    mask_kinds: dict[str, int] = field(default_factory=dict)
    mask_values: dict[str, int] = field(default_factory=dict)
    """Value in mask files → masks that have it (24 at most)."""
    coverage: list[tuple[str, int]] = field(default_factory=list)
    """Class of coverage → labelled images: empty, the classes of HISTOGRAM, full."""
    resemblance: dict[str, Any] = field(default_factory=dict)
    """Labelled images beside the test: see `saltern.data.likeness.resemblance`; empty where either is missing."""
    seconds: float = 0.0
    """What the check took."""

    @property
    def has_errors(self) -> bool:
        """Whether anything cannot be right; the exit status of `make check` is 1 then, and 0 otherwise."""
        return any(finding.severity == ERROR for finding in self.findings)

    def count(self, severity: str) -> int:
        """Number of findings of `severity`."""
        return sum(finding.severity == severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts for JSON."""
        return asdict(self)


def check_dataset(
    config: DatasetConfig,
    progress: Progress | None = None,
    opened: Callable[[DatasetConfig], Dataset] = open_dataset,
) -> tuple[DatasetReport, Dataset | None]:
    """Open the data set and look for everything that may be wrong with it.

    Where it cannot be opened, every problem that the layout found becomes an error, and there is no data set (None).

    Args:
        config: the data set.
        progress: told of every image.
        opened: opens it; the page of the report shows pictures read from the same data set.
    """
    began = time.monotonic()
    try:
        dataset = opened(config)
    except DataError as error:
        findings = [Finding(ERROR, "layout", line) for line in _problems(error)]
        return DatasetReport(str(config.root), config.layout, findings, seconds=time.monotonic() - began), None
    problems = Problems(dataset.root)
    items = problems.sift("unreadable files", inspect_dataset(dataset, progress))
    unreadable = [Finding(ERROR, "unreadable files", line) for line in problems.lines()]
    looks = Looks.of([item.fingerprint for item in items], progress)
    resemblance = _resemblance(items, looks)
    findings = [*unreadable, *find_all(items, looks), *_folds(resemblance), *_tables(dataset, _id_column(config))]
    findings.sort(key=lambda item: SEVERITIES.index(item.severity))
    labelled = [item for item in items if item.labelled]
    report = DatasetReport(
        root=str(dataset.root),
        layout=config.layout,
        findings=findings,
        counts={"labelled": len(dataset.train), "test": len(dataset.test)},
        sizes={name: _sizes(items, test) for name, test in (("labelled", False), ("test", True))},
        modes=_most(item.mode for item in items),
        mask_kinds=_most(item.mask_kind for item in labelled),
        mask_values=_most(str(value) for item in labelled for value in item.values),
        coverage=coverage_classes(labelled),
        resemblance=resemblance,
        seconds=time.monotonic() - began,
    )
    return report, dataset


def _problems(error: DataError) -> list[str]:
    lines = str(error).splitlines()
    listed = [line.removeprefix("  - ") for line in lines if line.startswith("  - ")]
    rest = [line.strip() for line in lines[1:] if not line.startswith("  - ")]
    return [*listed, *rest] if listed else ["\n".join(lines)]


def _resemblance(items: Sequence[Inspection], looks: Looks) -> dict[str, Any]:
    labelled = np.array([not item.test for item in items], dtype=bool)
    if labelled.all() or not labelled.any():
        return {}
    found = looks.resemblance(labelled)
    return {**found.as_dict(), "lines": found.lines()}


def _folds(resemblance: dict[str, Any]) -> list[Finding]:
    if not resemblance:
        return []
    text = f"Recommended: folds={resemblance['recommended']}, since {resemblance['why']}."
    return [Finding(INFO, "which folds", text)]


def _most(values: Any) -> dict[str, int]:
    return dict(Counter(values).most_common(24))


def _sizes(items: Sequence[Inspection], test: bool) -> dict[str, int]:
    return _most("{} x {}".format(*item.fingerprint.size) for item in items if item.test == test)


def coverage_classes(labelled: Sequence[Inspection]) -> list[tuple[str, int]]:
    """(class, images) by share of foreground among valid pixels; void images count as empty."""
    shares = np.array([item.area / max(item.pixels - item.void, 1) for item in labelled])
    between = shares[(shares > 0) & (shares < 1)]
    counts = np.histogram(between, HISTOGRAM)[0]
    names = [f"{low:.0%} to {high:.0%}" for low, high in pairwise(HISTOGRAM)]
    classes = [(name, int(count)) for name, count in zip(names, counts, strict=True)]
    return [("empty", int((shares == 0).sum())), *classes, ("full", int((shares == 1).sum()))]


def _tables(dataset: Dataset, id_column: str) -> list[Finding]:
    """CSV files beside the images: rows without an image, and images without a row."""
    ids = [*dataset.train["id"], *dataset.test["id"]]
    findings = []
    for path in sorted(dataset.root.glob("*.csv")):
        try:
            table = read_csv(path, [])
        except DataError as error:
            findings.append(Finding(WARNING, "other tables", str(error)))
            continue
        column = next((name for name in (id_column, "id") if name in table.columns), None)
        if column is None:
            columns = ", ".join(table.columns[:12])
            text = f"{path.name}: no column {id_column!r} (its columns: {columns}); not looked at."
            findings.append(Finding(INFO, "other tables", text))
            continue
        findings += _strangers(path, table[column].tolist(), ids, set(table.columns) - {column})
    return findings


def _id_column(config: DatasetConfig) -> str:
    """The column that names the image in the set's CSV files."""
    return config.rle_form.id_column if isinstance(config, FolderConfig) else "id"


def _strangers(path: Path, named: list[str], ids: list[str], columns: set[str]) -> list[Finding]:
    known, listed = set(ids), set(named)
    without_image = [name for name in named if name not in known]
    findings = []
    if without_image:
        such = shown(without_image[0])
        text = f"{path.name}: {len(without_image)} of {len(named)} rows have no image, such as {such}."
        findings.append(Finding(WARNING, "rows without an image", text, len(without_image)))
    missing = [name for name in ids if name not in listed]
    covers_both = columns & {"z", "depth", "group"}  # train.csv and sample_submission.csv name one part by intention
    if covers_both and missing:
        text = f"{path.name}: {len(missing)} of {len(ids)} images have no row, such as {shown(missing[0])}."
        findings.append(Finding(WARNING, "images without a row", text, len(missing), missing))
    return findings
