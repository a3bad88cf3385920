"""Every run below a folder: how far it came, what it scored, what it cost; read from small files alone."""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from saltern.config.apart import Leaves, frozen_leaves
from saltern.errors import RunError
from saltern.files import read_json
from saltern.report.artifacts import read_scores
from saltern.report.belief import trusted
from saltern.runs import RunDir
from saltern.runs.seals import Seal, Seals

_WITHIN = ("oof", "test", "done", "results", "tensorboard", "bundle", "export", "preview")
"""Folders within a run, in which no run lies."""
_TRACES = ("folds.csv", "scores.json", "ensemble.json", "environment.json")
"""Files that only a run has."""


@dataclass
class FoundRun:
    """A run as its files tell it."""

    name: str
    """Its path below the folder of all runs."""
    run: RunDir
    ensemble: bool = False
    state: str = "finished"
    """finished, unfinished, or broken."""
    wrong: list[str] = field(default_factory=list)
    """What is missing, or does not hold, a sentence each."""
    leaves: Leaves | None = None
    """Its frozen config; None where that cannot be read."""
    tuned_for: str = ""
    score: float | None = None
    """The score to trust: less selection, else nested, else tuned; None where there is none yet."""
    kind: str = ""
    """Which of the three."""
    low: float | None = None
    high: float | None = None
    """The forecast for test images, 19 times out of 20; None where there is none."""
    images: int = 0
    """That were scored."""
    fold_of: dict[str, int] = field(default_factory=dict)
    """Image → fold; empty where that cannot be read."""
    folds: str = ""
    """Trained, of all."""
    hours: float | None = None
    """Of training, by its epochs' own images a second, without validation and later stages; None: not known."""
    machine: str = ""

    def break_off(self, state: str, why: str) -> None:
        """Note what is wrong; `broken` outweighs `unfinished`."""
        self.wrong.append(why)
        self.state = "broken" if "broken" in (state, self.state) else state


def find_runs(outputs: Path) -> list[FoundRun]:
    """Every run below `outputs`, also in folders of folders, sorted by name.

    A folder without a config that holds what only runs have is one too, and broken.
    """
    return [read_run(outputs, path) for path in sorted(_folders(outputs))]


def _folders(outputs: Path) -> Iterator[Path]:
    for folder, below, files in os.walk(outputs):
        below[:] = sorted(
            name
            for name in below
            if name not in _WITHIN and not name.startswith((".", "fold_")) and name[-4:] != ".tmp"
        )
        path = Path(folder)
        if path != outputs and ("config.yaml" in files or set(_TRACES) & set(files) or any(path.glob("fold_*/*"))):
            yield path


def read_run(outputs: Path, path: Path) -> FoundRun:
    """The run in the folder `path`; whatever cannot be read is named in it, and raises nothing."""
    run = RunDir(path)
    found = FoundRun(path.relative_to(outputs).as_posix(), run, ensemble=run.ensemble.exists())
    for part in (_read_config, _read_progress, _read_scores, _read_cost):
        try:
            part(found)
        except RunError as error:
            found.break_off("broken", str(error))
        except OSError as error:
            found.break_off("broken", f"{error.filename}: cannot be read ({error.strerror})")
    return found


def _read_config(found: FoundRun) -> None:
    if not found.run.config.exists():
        found.break_off("broken", "config.yaml is gone")
        return
    found.leaves = frozen_leaves(found.run.config)


def _read_progress(found: FoundRun) -> None:
    run = found.run
    cards = sorted(run.holds.glob("*.json"))
    for card in cards:
        held: Any = read_json(card)
        if isinstance(held, dict):
            text = (
                f"process {held.get('process')} on {held.get('host')} works on {card.stem}, since {held.get('since')}"
            )
            found.break_off("unfinished", text)
    if not run.folds.exists():
        found.break_off("unfinished", "not divided into folds")
        return
    found.fold_of = folds_of(run)
    numbers = sorted({*found.fold_of.values()} - {-1})
    sealed = run.sealed_folds()
    found.folds = f"{len(numbers) if found.ensemble else len(sealed)}/{len(numbers)}"
    if not found.ensemble:
        torn = [fold.path.name for fold in run.begun_folds() if not fold.done.exists()]
        if torn:
            found.break_off("unfinished", f"{', '.join(torn)} not trained to the end")
        if not sealed:
            found.break_off("unfinished", "no fold is trained")
    _read_stages(found)


def _read_stages(found: FoundRun) -> None:
    run, seals = found.run, Seals(found.run)
    seal = run.seal("tune")
    if seal.exists():
        content = seals.read(seal, Seal)
        for fault in (*seals.changed_files(content), *seals.changed_ingredients(content)):
            found.break_off("broken", fault)
    lacking = [stage for stage in ("tune", "report") if not run.seal(stage).exists()]
    if run.seal("predict").exists() and not run.seal("submit").exists():
        lacking.append("submit")
    for stage in lacking:
        found.break_off("unfinished", f"`make {stage}` has not ended")


def _read_scores(found: FoundRun) -> None:
    if not found.run.scores.exists():
        return
    scores = read_scores(found.run)
    found.tuned_for, found.images = scores["tuned_for"], scores["pooled"]["images"]
    found.score, found.kind = trusted(scores)
    forecast = scores.get("forecast")
    if forecast is not None:
        found.low, found.high = forecast["low"], forecast["high"]


def _read_cost(found: FoundRun) -> None:
    run = found.run
    if run.environment.exists():
        content: Any = read_json(run.environment)
        gpus = content.get("gpus") if isinstance(content, dict) else None
        threads = content.get("cpu_threads") if isinstance(content, dict) else None
        found.machine = (
            ", ".join(map(str, gpus)) if gpus else f"CPU, {threads} thread{'s' * (threads != 1)}" if threads else ""
        )
    if found.ensemble or not run.folds.exists():
        return
    of_fold = found.fold_of or folds_of(run)
    seconds = [_seconds(fold.metrics, sum(number != fold.number for number in of_fold.values()))
               for fold in run.begun_folds() if fold.metrics.exists()]  # fmt: skip
    known = [value for value in seconds if value is not None]
    found.hours = sum(known) / 3600 if known and len(known) == len(seconds) else None


def _seconds(metrics: Path, images: int) -> float | None:
    """The training time of a fold with so many training images; None where its epochs do not say it."""
    try:
        with metrics.open(encoding="utf-8", newline="") as stream:
            rates = [float(row["images_per_s"]) for row in csv.DictReader(stream)]
        return sum(images / rate for rate in rates)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None  # an earlier version's, or damaged: read_metrics says which, where the page of the run is made


def folds_of(run: RunDir) -> dict[str, int]:
    """Id → fold, of `folds.csv`.

    Raises:
        RunError: it is no such table.
    """
    try:
        with run.folds.open(encoding="utf-8", newline="") as stream:
            return {row["id"]: int(row["fold"]) for row in csv.DictReader(stream)}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise RunError(f"{run.folds}: is no table of id and fold ({error}).") from None
