"""Are two runs really different? Paired statistics over the images that both were scored on, and a page of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray
from scipy import stats

from saltern.errors import ConfigError, RunError, unknown
from saltern.files import write_text
from saltern.inference.decide import Decision, decide
from saltern.metrics.scores import PER_IMAGE
from saltern.report import figures
from saltern.report.coverage import extreme
from saltern.report.page import Group, Shot, render
from saltern.report.pictures import Load, picture

RESAMPLES = 10_000
"""Draws of the bootstrap."""
SHOTS = 6
"""Pictures of gains and of losses, each with foreground and without: an empty truth changes by 1 or not at all, and
would fill the page."""


@dataclass(frozen=True)
class Member:
    """A run that is compared."""

    table: pd.DataFrame
    """Its `oof_scores.csv`."""
    decision: Decision
    load: Load
    """Gives image, target and this run's probabilities of an id."""


@dataclass(frozen=True)
class Comparison:
    """A run against the baseline over the same images; differences are run minus baseline."""

    run: str
    baseline: str
    score: str
    images: int
    mean: float
    baseline_mean: float
    difference: float
    low: float
    """Lower end of the 95 % interval of the mean difference, from a bootstrap over images."""
    high: float
    wins: int
    """Images with a higher score than in the baseline."""
    ties: int
    losses: int
    p_wilcoxon: float
    """Two-sided signed-rank test on the images whose score differs; 1 where none does."""
    p_sign: float
    """Two-sided sign test on wins against losses."""
    same_folds: bool
    """Whether every image lay in the same fold in both runs."""

    @property
    def verdict(self) -> str:
        """The statistics in a sentence."""
        span = f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        if self.low <= 0 <= self.high:
            return f"These images show no clear difference between {self.run} and {self.baseline} ({span})."
        word = "higher" if self.difference > 0 else "lower"
        return f"{self.run} scores {word} than {self.baseline}, by {abs(self.difference):.4f} on average ({span})."


def compare(tables: Mapping[str, pd.DataFrame], score: str) -> list[Comparison]:
    """Each run against the first, image by image.

    The interval and the tests speak about the choice of images alone: a run trained again with another seed differs
    too, which only more runs can show.

    Args:
        tables: run → its `oof_scores.csv` as from `read_oof_scores`; the first is the baseline.
        score: the column to compare: iou, dice or precision_tgs.

    Raises:
        ConfigError: fewer than two runs, or an unknown score.
        RunError: runs over different images.
    """
    if len(tables) < 2:
        raise ConfigError(f"runs={list(tables)}: expected two or more different runs; the first is the baseline.")
    if score not in PER_IMAGE:
        raise ConfigError(f"score: {unknown('column', score, list(PER_IMAGE))}")
    (baseline, first), *others = tables.items()
    for name, other in others:
        _refuse_other_images(baseline, first, name, other)
    return [_compare_pair(baseline, first, name, matched(first, other), score) for name, other in others]


def matched(first: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The rows of `other` in the order of the ids of `first`."""
    return other.set_index("id").loc[first["id"]].reset_index()


def changes(first: pd.DataFrame, other: pd.DataFrame, score: str) -> NDArray[np.float64]:
    """`other` minus `first`, whose rows match; rounded to nine digits, so that equal scores give 0."""
    return np.round(other[score].to_numpy(dtype=np.float64) - first[score].to_numpy(dtype=np.float64), 9)


def write_compare(
    path: Path,
    members: Mapping[str, Member],
    score: str,
    coverage: Mapping[str, float],
    cautions: Sequence[str] = (),
) -> list[Comparison]:
    """Write the page of a comparison to `path`; returns what `compare` found.

    Args:
        path: of the page.
        members: run → its table, decision and pictures; the first is the baseline.
        score: the column to compare.
        coverage: share of foreground in the truth, for every id.
        cautions: sentences for the top of the page.

    Raises:
        ConfigError: see `compare`.
        RunError: see `compare`.
    """
    found = compare({name: member.table for name, member in members.items()}, score)
    baseline = next(iter(members))
    sections = [_section(baseline, entry, members, coverage) for entry in found]
    context = {
        "name": path.parent.name,
        "score": score,
        "cautions": cautions,
        "baseline": baseline,
        "comparisons": found,
        "intervals": Markup(
            figures.intervals([(entry.run, entry.difference, entry.low, entry.high) for entry in found])
        ),
        "sections": sections,
        "resamples": RESAMPLES,
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


def _compare_pair(baseline: str, first: pd.DataFrame, name: str, other: pd.DataFrame, score: str) -> Comparison:
    change = changes(first, other, score)
    wins, losses = int((change > 0).sum()), int((change < 0).sum())
    low, high = bootstrap(change)
    return Comparison(
        run=name,
        baseline=baseline,
        score=score,
        images=len(change),
        mean=float(other[score].mean()),
        baseline_mean=float(first[score].mean()),
        difference=float(change.mean()),
        low=low,
        high=high,
        wins=wins,
        ties=len(change) - wins - losses,
        losses=losses,
        p_wilcoxon=float(stats.wilcoxon(change[change != 0]).pvalue) if wins + losses else 1.0,
        p_sign=float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0,
        same_folds=bool((first["fold"] == other["fold"]).all()),
    )


def bootstrap(change: NDArray[np.float64]) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the mean of `change` (N,) over draws of N with replacement; seeded."""
    rng = np.random.default_rng(0)
    block = max(1, 2_000_000 // len(change))
    means = [
        change[rng.integers(0, len(change), (min(block, RESAMPLES - start), len(change)), dtype=np.int32)].mean(axis=1)
        for start in range(0, RESAMPLES, block)
    ]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _section(
    baseline: str, entry: Comparison, members: Mapping[str, Member], coverage: Mapping[str, float]
) -> dict[str, Any]:
    first, other = members[baseline], members[entry.run]
    change = changes(first.table, matched(first.table, other.table), entry.score)
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
    ]
    return {
        "comparison": entry,
        "figures": [Markup(svg) for svg in drawn],
        "groups": [group for group in groups if group.shots],
    }


def _shot(row: dict[Any, Any], first: Member, other: Member) -> Shot:
    before, after = first.load(row["id"]), other.load(row["id"])
    masks = {
        "base": decide(before.probs, first.decision, before.presence),
        "mask": decide(after.probs, other.decision, after.presence),
    }
    return Shot(
        id=row["id"],
        picture=picture(after.image, masks, after.target),
        score=f"{row['change']:+.2f}",
        caption=f"{row['before']:.2f} → {row['before'] + row['change']:.2f}",
        note=f"truth {100 * row['coverage']:.1f} %",
    )
