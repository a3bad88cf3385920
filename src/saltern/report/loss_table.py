"""What a loss laboratory knows of each loss, and the table and sentences that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

from saltern.errors import RunError
from saltern.inference.halves import clusters_of
from saltern.metrics.calibration import Reliability
from saltern.metrics.differences import Comparison, Ground, Scored, compare
from saltern.metrics.noise import Retrain
from saltern.report.coverage import NAMES, coverage_bins

SCORES = ("iou_image", "iou_dataset", "precision_tgs", "dice_image")


class Rate(BaseModel):
    """What the search of a loss has found."""

    factor: float
    """On the learning rates of the recipe."""
    lr: float
    """The rate of the first phase."""
    scores: dict[str, float | None] = {}
    """Factor → score; None where training failed. Empty where nothing was searched."""

    @property
    def edge(self) -> str | None:
        """Whether the best was the `lowest` or the `highest` of the grid, beyond which nothing was tried."""
        tried = [float(factor) for factor in self.scores]
        if len(tried) < 2:
            return None
        places = {float(f"{min(tried):g}"): "lowest", float(f"{max(tried):g}"): "highest"}
        return places.get(float(f"{self.factor:g}"))


@dataclass(frozen=True)
class LossRuns:
    """The runs of one loss, one a seed; lists have an entry a run."""

    phases: Sequence[str]
    """The loss of each phase, as text."""
    rate: Rate
    nested: Sequence[pd.DataFrame]
    """`oof_nested.csv`: scores of images at decisions tuned without them."""
    neutral: Sequence[pd.DataFrame]
    """The same at threshold 0.5, without any other rule."""
    summaries: Sequence[Mapping[str, Mapping[str, float]]]
    """`at_0.5` and `nested` → SCORES → value."""
    thresholds: Sequence[float]
    """Of the tuned decisions."""
    reliability: Sequence[Reliability]
    metrics: Sequence[Mapping[int, pd.DataFrame]]
    """Fold → `metrics.csv`."""
    seconds_per_step: float
    """Of training, the median over epochs; an optimizer step, with reading its images."""
    epochs: int


@dataclass(frozen=True)
class Evidence:
    """All that the page and the table are made of."""

    losses: Mapping[str, LossRuns]
    """The baseline first; two or more."""
    score: str
    """The column that is compared."""
    monitor: str
    """The validation score of the learning curves."""
    retrain: Mapping[str, Retrain]
    """`nested` and `neutral` → what is known of one training's shift."""
    measured: int
    """How many losses have several seeds, which measured it; 0: it is the default."""
    coverage: Mapping[str, float]
    """Id → share of foreground in the truth."""
    clusters: Mapping[str, str] | None = None
    failed: Sequence[str] = ()
    """Runs, or losses, that are left out."""
    notes: Sequence[str] = field(default_factory=list)

    @property
    def baseline(self) -> str:
        """What all others are compared with."""
        return next(iter(self.losses))

    @property
    def seeds(self) -> int:
        """The least number of seeds of a loss."""
        return min(len(runs.nested) for runs in self.losses.values())


@dataclass(frozen=True)
class LossRow:
    """A loss, and its comparisons with the baseline; those are None of the baseline itself."""

    name: str
    runs: LossRuns
    score: float
    """The mean of what is compared, at the tuned decision."""
    classes: Mapping[str, float]
    """Coverage class that has images → mean score at the tuned decision."""
    tuned: Comparison | None
    neutral: Comparison | None

    @property
    def mean(self) -> dict[str, dict[str, float]]:
        """`at_0.5` and `nested` → SCORES → mean over seeds."""
        return {
            kind: {name: float(np.mean([each[kind][name] for each in self.runs.summaries])) for name in SCORES}
            for kind in ("at_0.5", "nested")
        }

    @property
    def ece(self) -> float:
        """Mean over seeds; see `metrics.calibration`."""
        return float(np.mean([each.ece for each in self.runs.reliability]))

    def cells(self) -> dict[str, Any]:
        """The row of `table.csv`. Scores without a suffix are at decisions tuned without the image (nested)."""
        mean, both = self.mean, (("", self.tuned), ("_0.5", self.neutral))
        found: dict[str, Any] = {"loss": self.name, "phases": " > ".join(self.runs.phases)}
        found |= {"seeds": len(self.runs.nested), "rate": self.runs.rate.lr, "rate_factor": self.runs.rate.factor}
        found |= {f"{name}_0.5": mean["at_0.5"][name] for name in SCORES}
        found |= {name: mean["nested"][name] for name in SCORES}
        for suffix, entry in both:
            span = (None, None, None) if entry is None else (entry.difference, entry.low, entry.high)
            found |= {f"{key}{suffix}": value for key, value in zip(("difference", "low", "high"), span, strict=True)}
        found |= {"verdict": verdict(self), "threshold": float(np.mean(self.runs.thresholds)), "ece": self.ece}
        found |= {f"coverage_{name}": self.classes.get(name) for name in NAMES}
        return found | {"seconds_per_step": self.runs.seconds_per_step, "epochs": self.runs.epochs}


def loss_rows(evidence: Evidence) -> list[LossRow]:
    """A row a loss, the baseline first.

    Raises:
        RunError: runs that were not scored on the same images.
    """
    tuned, neutral = _compared(evidence, "nested"), _compared(evidence, "neutral")
    rows, bins = [], coverage_bins(np.array([evidence.coverage[id] for id in _ids(evidence)]))
    for name, runs in evidence.losses.items():
        scores = _mean(evidence, runs.nested)
        classes = {NAMES[number]: float(scores[bins == number].mean()) for number in np.unique(bins)}
        rows.append(LossRow(name, runs, float(scores.mean()), classes, tuned.get(name), neutral.get(name)))
    return rows


def ground_of(evidence: Evidence, kind: str = "nested") -> Ground:
    """Folds, groups and what is known of trainings; `kind` is `nested` or `neutral`."""
    first = evidence.losses[evidence.baseline].nested[0].sort_values("id")
    known = evidence.clusters
    clusters = None if known is None else clusters_of(list(first["id"]), known)
    return Ground(first["fold"].to_numpy(), clusters, evidence.retrain[kind])


def _compared(evidence: Evidence, kind: str) -> dict[str, Comparison]:
    """Loss → its comparison with the baseline, as `make compare` makes it."""
    scored = {
        name: Scored(_mean(evidence, getattr(runs, kind)), len(runs.nested)) for name, runs in evidence.losses.items()
    }
    return {entry.run: entry for entry in compare(evidence.score, scored, ground_of(evidence, kind))}


def _ids(evidence: Evidence) -> list[str]:
    return sorted(evidence.losses[evidence.baseline].nested[0]["id"])


def _mean(evidence: Evidence, tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """(N,) the mean score of each image over seeds, in the order of the ids."""
    ids, columns = _ids(evidence), []
    for table in tables:
        ordered = table.sort_values("id")
        if ordered["id"].tolist() != ids:
            raise RunError("the runs of the laboratory were not scored on the same images; has the data set changed?")
        columns.append(ordered[evidence.score].to_numpy(dtype=np.float64))
    mean: np.ndarray = np.mean(columns, axis=0)
    return mean


WORDS = {"higher": "better", "lower": "worse", "cannot be told apart": "no difference shown"}
"""What `make compare` says of a difference → what the laboratory says of a loss."""


def verdict(row: LossRow) -> str:
    """`better`, `worse`, `no difference shown`, `cannot be said`, or `baseline`."""
    if row.tuned is None:
        return "baseline"
    return WORDS.get(row.tuned.word, row.tuned.word)


def conclusion(row: LossRow) -> str:
    """A sentence or two about a loss that is no baseline, which follow from its two intervals."""
    tuned, neutral = row.tuned, row.neutral
    assert tuned is not None, "the baseline is not compared"
    assert neutral is not None, "the baseline is not compared"
    if not tuned.interval.said:
        return tuned.verdict
    word = verdict(row)
    span = f"95 % interval {tuned.low:+.4f} to {tuned.high:+.4f}"
    if word == "no difference shown":
        text = (
            f"no difference to {tuned.baseline} is shown ({span}): a gain beyond {tuned.high:.4f} and a drop beyond "
            f"{-tuned.low:.4f} can be excluded, nothing smaller."
        )
    else:
        text = f"{word} than {tuned.baseline}, by {abs(tuned.difference):.4f} ({span})."
    return f"{row.name}: {text}{_of_threshold(word, neutral)}"


def _of_threshold(word: str, neutral: Comparison) -> str:
    """What threshold 0.5 alone would have made of it, where that is another verdict."""
    at_half = WORDS.get(neutral.word, "no difference shown")
    if at_half == word:
        return ""
    span = f"{neutral.difference:+.4f}, {neutral.low:+.4f} to {neutral.high:+.4f}"
    if at_half == "no difference shown":
        return f" At threshold 0.5 no difference is shown ({span})."
    if word == "no difference shown":
        return (
            f" At threshold 0.5 it looks {at_half} ({span}), which is a matter of the threshold: tuning takes it away."
        )
    return f" At threshold 0.5 it looks {at_half} ({span}): the threshold turns the verdict."


def summary(rows: Sequence[LossRow], evidence: Evidence) -> list[str]:
    """What all rows say together, and what cannot be said."""
    others = [verdict(row) for row in rows if row.tuned is not None]
    counted = [f"{others.count(word)} {word}" for word in ("better", "worse", "no difference shown", "cannot be said")
               if word in others]  # fmt: skip
    of = "The one other loss" if len(others) == 1 else f"Of {len(others)} other losses"
    said = [f"{of} against {evidence.baseline}, by {evidence.score} at tuned decisions: {', '.join(counted)}."]
    if evidence.seeds == 1:
        said.append(
            "Some loss was trained with one seed. How far its score moves when it is trained again was not seen, so "
            "the intervals rest on a default; whether a difference is the loss's or one training's cannot be said."
        )
    edges = [f"{row.name} ({row.runs.rate.edge})" for row in rows if row.runs.rate.edge]
    if edges:
        said.append(
            f"The best rate lay at the edge of the search for {', '.join(edges)}: a rate beyond it may be better still."
        )
    return said
