"""Runs set against one of them: what differs in their configs, and which scores mean something else."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saltern.config.apart import apart
from saltern.data.source.truths import read_truths
from saltern.errors import ConfigError, RunError, unknown
from saltern.files import sha256
from saltern.report.runs_found import FoundRun, folds_of


@dataclass(frozen=True)
class Entry:
    """A line of the table."""

    found: FoundRun
    differs: dict[str, tuple[Any, Any]]
    """Key of the config → (value in the reference, value here)."""
    incomparable: list[str]
    """Why its score and the reference's mean different things; none where they do not."""

    @property
    def words(self) -> list[str]:
        """`key=value` for each key that differs."""
        return [f"{key}={value}" for key, (_, value) in self.differs.items()]


@dataclass(frozen=True)
class Table:
    """All runs; those that can be set beside the reference first, best first."""

    reference: FoundRun | None
    """None where no run has a score."""
    entries: list[Entry]

    @property
    def keys(self) -> list[str]:
        """Every key of the config in which some run differs."""
        return list(dict.fromkeys(key for entry in self.entries for key in entry.differs))


def table_of(runs: Sequence[FoundRun], against: str | None = None) -> Table:
    """The table of `runs`; `against` names the reference, else it is the best of the largest comparable group.

    Raises:
        ConfigError: there is no run of that name, or it has no score or no readable config.
    """
    reference = _named(runs, against) if against is not None else _best(runs)
    entries = [_entry(found, reference) for found in runs]
    return Table(reference, sorted(entries, key=_place))


def _named(runs: Sequence[FoundRun], name: str) -> FoundRun:
    for found in runs:
        if found.name == name:
            if found.leaves is None or found.score is None:
                raise ConfigError(f"against={name}: has no score or config to compare with: {'; '.join(found.wrong)}.")
            return found
    raise ConfigError(f"against={name}: {unknown('run', name, [found.name for found in runs])}")


def _best(runs: Sequence[FoundRun]) -> FoundRun | None:
    groups = defaultdict(list)
    for found in runs:
        if found.score is not None and found.leaves is not None and found.state != "broken":
            truth = sha256(found.run.truth) if found.run.truth.exists() else ""
            groups[found.tuned_for, truth].append(found)
    if not groups:
        return None
    largest = max(map(len, groups.values()))
    candidates = [found for group in groups.values() if len(group) == largest for found in group]
    return max(candidates, key=lambda found: found.score or 0.0)


def _entry(found: FoundRun, reference: FoundRun | None) -> Entry:
    if reference is None or found is reference:
        return Entry(found, {}, [])
    differs = apart(reference.leaves, found.leaves) if reference.leaves and found.leaves else {}
    try:
        reasons = _reasons(found, reference) if found.score is not None else []
    except (RunError, OSError) as error:
        reasons = [f"cannot be said: {error}"]
    return Entry(found, differs, reasons)


def _reasons(found: FoundRun, reference: FoundRun) -> list[str]:
    reasons = []
    if found.tuned_for != reference.tuned_for:
        reasons.append(f"tuned for {found.tuned_for}")
    reasons += _other_truth(found, reference)
    one, other = found.fold_of or folds_of(found.run), reference.fold_of or folds_of(reference.run)
    moved = sum(other[name] != fold for name, fold in one.items() if name in other)
    if moved:
        reasons.append(f"other folds ({moved:,} images in another one)")
    return reasons


def _other_truth(found: FoundRun, reference: FoundRun) -> list[str]:
    one, other = found.run.truth, reference.run.truth
    if not (one.exists() and other.exists()):
        return ["no truth.csv says on which masks it was scored"]
    if sha256(one) == sha256(other):
        return []
    here, there = read_truths(one), read_truths(other)
    common = here.keys() & there.keys()
    reasons = []
    masks = sum(here[name].truth != there[name].truth for name in common)
    if masks:
        reasons.append(f"other truth ({masks:,} of {len(common):,} masks)")
    files = sum(here[name].image != there[name].image for name in common)
    if files:
        reasons.append(f"other image files ({files:,})")
    if here.keys() != there.keys():
        reasons.append(f"scored on {len(here):,} images, {len(common):,} of the {len(there):,}")
    return reasons


def _place(entry: Entry) -> tuple[int, int, float, str]:
    found = entry.found
    rank = ("finished", "unfinished", "broken").index(found.state)
    return (bool(entry.incomparable), rank, -(found.score or 0.0), found.name)
