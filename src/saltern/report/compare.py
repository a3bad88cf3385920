"""Are two runs really different? The page of a comparison; the statistics are those of `metrics.differences`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from saltern.errors import ConfigError, RunError, unknown
from saltern.files import write_text
from saltern.inference.decide import Decision, decide
from saltern.inference.halves import clusters_of
from saltern.metrics.differences import Comparison, Ground, Scored, differences
from saltern.metrics.differences import compare as compare_scores
from saltern.metrics.noise import Retrain
from saltern.metrics.scores import PER_IMAGE
from saltern.report import figures
from saltern.report.coverage import extreme
from saltern.report.page import Group, Shot, render
from saltern.report.pictures import Load, picture

SHOTS = 6
"""Pictures of gains and of losses, each with foreground and without: an empty truth changes by 1 or not at all, and
would fill the page."""


@dataclass(frozen=True)
class Member:
    """A run that is compared."""

    table: pd.DataFrame
    """Its `oof_scores.csv`: what the pictures show."""
    decision: Decision
    load: Load
    """Gives image, target and this run's probabilities of an id."""
    nested: Sequence[pd.DataFrame]
    """Its `oof_nested.csv`, which is what is compared, and those of the same recipe with other seeds."""


@dataclass(frozen=True)
class Known:
    """What is known of the images and trainings that all members share."""

    clusters: Mapping[str, str] | None = None
    """Id → what it belongs to; None: each image is its own."""
    retrain: Retrain = field(default_factory=Retrain)
    measured: str | None = None
    """The run whose seeds measured `retrain`; None: it is the default."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know, a sentence each."""


def compare(members: Mapping[str, Member], known: Known, score: str) -> tuple[list[Comparison], Ground]:
    """Each run against the first, and what all statements stand on.

    Raises:
        ConfigError: fewer than two runs, or an unknown score.
        RunError: runs over different images.
    """
    if len(members) < 2:
        raise ConfigError(f"runs={list(members)}: expected two or more different runs; the first is the baseline.")
    if score not in PER_IMAGE:
        raise ConfigError(f"score: {unknown('column', score, list(PER_IMAGE))}")
    (baseline, first), *others = members.items()
    for name, member in members.items():
        for table in (member.table, *member.nested):
            _refuse_other_images(baseline, first.table, name, table)
    ids = first.table["id"]
    clusters = None if known.clusters is None else clusters_of(list(ids), known.clusters)
    ground = Ground(first.table["fold"].to_numpy(), clusters, known.retrain)
    scored = {name: _scored(member, first.table, score) for name, member in members.items()}
    folds = {name: matched(first.table, member.table)["fold"].to_numpy() for name, member in others}
    same = {name: bool((ground.folds == numbers).all()) for name, numbers in folds.items()}
    return compare_scores(score, scored, ground, same), ground


def _scored(member: Member, first: pd.DataFrame, score: str) -> Scored:
    columns = [matched(first, table)[score].to_numpy(dtype=np.float64) for table in member.nested]
    return Scored(np.mean(columns, axis=0), len(columns))


def matched(first: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `other` in the order of the ids of `first`."""
    return other.set_index("id").loc[first["id"]].reset_index()


def write_compare(
    path: Path, members: Mapping[str, Member], known: Known, score: str, coverage: Mapping[str, float]
) -> list[Comparison]:
    """Write the page of a comparison to `path`; returns what `compare` found.

    Args:
        path: of the page.
        members: run → its tables, decision and pictures; the first is the baseline.
        known: what is known of groups of images, and of trainings.
        score: the column to compare.
        coverage: share of foreground in the truth, for every id.

    Raises:
        ConfigError: see `compare`.
        RunError: see `compare`.
    """
    found, ground = compare(members, known, score)
    baseline = next(iter(members))
    said = [entry for entry in found if entry.interval.said]
    sections = [_section(baseline, entry, members, coverage) for entry in found]
    context = {
        "name": path.parent.name,
        "score": score,
        "baseline": baseline,
        "comparisons": found,
        "intervals": Markup(figures.intervals([(entry.run, entry.difference, entry.low, entry.high) for entry in said]))
        if said
        else "",
        "sections": sections,
        "ground": ground,
        "known": known,
        "clusters": found[0].interval.clusters,
    }
    write_text(path, render("compare.html", context))
    return found


def _refuse_other_images(baseline: str, first: pd.DataFrame, name: str, other: pd.DataFrame) -> None:
    only_first, only_other = sorted(set(first["id"]) - set(other["id"])), sorted(set(other["id"]) - set(first["id"]))
    if only_first or only_other:
        raise RunError(
            f"{baseline} and {name} were scored on different images: {len(only_first)} only in {baseline}, "
            f"{len(only_other)} only in {name}, such as {(only_first or only_other)[0]!r}. "
            "Train the same folds of the same data in both."
        )


def _section(
    baseline: str, entry: Comparison, members: Mapping[str, Member], coverage: Mapping[str, float]
) -> dict[str, Any]:
    first, other = members[baseline], members[entry.run]
    change = differences(
        *(table[entry.score].to_numpy(dtype=np.float64) for table in (first.table, matched(first.table, other.table)))
    )
    shares = np.array([coverage[name] for name in first.table["id"]])
    before = first.table[entry.score]
    table = pd.DataFrame({"id": first.table["id"], "change": change, "before": before, "coverage": shares})
    groups = []
    for kind, chosen in (("foreground in the truth", shares > 0), ("an empty truth", shares == 0)):
        for word, part in (("gains", table[chosen & (change > 0)]), ("losses", table[chosen & (change < 0)])):
            rows = extreme(part, "change", "before", ascending=word == "losses", count=SHOTS)
            shots = [_shot(row, first, other) for row in rows.to_dict("records")]
            groups.append(Group(f"Largest {word}", f"of {len(part):,} with {kind}", shots))
    drawn = [
        figures.difference_histogram(change, entry.run),
        figures.difference_by_coverage(shares, change, entry.run),
        figures.wins_by_coverage(shares, change, entry.run),
    ]
    return {
        "comparison": entry,
        "figures": [Markup(svg) for svg in drawn],
        "groups": [group for group in groups if group.shots],
    }


def _shot(row: dict[Any, Any], first: Member, other: Member) -> Shot:
    before, after = first.load(row["id"]), other.load(row["id"])
    base = decide(before.probs, first.decision, before.presence)
    mask = decide(after.probs, other.decision, after.presence)
    return Shot(
        id=row["id"],
        picture=picture(after.image, {"base": base}, after.target),
        beside=picture(after.image, {"mask": mask}, after.target),
        score=f"{row['change']:+.2f}",
        caption=f"{row['before']:.2f} → {row['before'] + row['change']:.2f}",
        note=f"truth {100 * row['coverage']:.1f} %",
    )
