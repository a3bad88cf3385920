"""One self-contained page about a run: its scores, curves, best and worst images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from saltern.errors import RunError
from saltern.files import read_json, write_text
from saltern.inference.decide import Decision, decide, read_decision
from saltern.metrics.scores import MEAN_OF
from saltern.report import figures
from saltern.report.artifacts import read_metrics, read_oof_scores, read_scores
from saltern.report.belief import assumptions_of, neutral_text, steps_of
from saltern.report.cautions import cautions_of
from saltern.report.coverage import extreme
from saltern.report.facts import all_images_facts, ensemble_facts, facts_of
from saltern.report.page import Card, Group, Shot, render
from saltern.report.pictures import Load, picture
from saltern.report.resembling import read_resembling, taken_note
from saltern.runs import RunDir

SCORE_NAMES = ("precision_tgs", "iou_image", "iou_dataset", "dice_image")
SHOTS = 12
"""Pictures in each group."""


def write_report(
    run: RunDir, load: Load, coverage: Mapping[str, float], taken: Mapping[str, float] | None = None
) -> None:
    """Write `report.html` of a run whose stage `tune` is done.

    Args:
        run: read: scores.json, decision.json, oof_scores.csv; where they exist also config.yaml, fold_k/metrics.csv.
        load: gives image, target and out-of-fold probabilities of an id; called for at most 36 images.
        coverage: share of foreground among the valid pixels of the truth, for every id of oof_scores.csv.
        taken: id → share above the threshold, of the out-of-fold images that a gate emptied though it is large; None
            where there are none.

    Raises:
        RunError: an artifact is missing or not what its stage writes, or an id has no coverage.
    """
    scores, decision = read_scores(run), read_decision(run.decision)
    table = with_coverage(read_oof_scores(run.oof_scores), coverage, run)
    metrics = read_metrics(run)
    column = MEAN_OF.get(scores["tuned_for"], "iou")
    config_text = run.config.read_text(encoding="utf-8") if run.config.exists() else ""
    groups = [*_groups(table, column, decision, load), *_taken(table, column, decision, load, taken or {})]
    resembling = read_resembling(run)
    context = {
        "name": run.name,
        "cautions": [*cautions_of(run), *resembling.warnings],
        "resembling": resembling,
        "cards": _cards(scores, table),
        "score_names": SCORE_NAMES,
        "tuned_for": scores["tuned_for"],
        "score_rows": _score_rows(scores),
        "decision_text": decision_text(decision, scores),
        "steps": steps_of(scores),
        "neutral_text": neutral_text(scores),
        "assumptions": assumptions_of(scores),
        "presence_text": _presence_text(scores),
        "mistakes_text": _mistakes_text(table),
        "curves": [Markup(svg) for svg in _learning_curves(metrics, scores)],
        "figures": [Markup(svg) for svg in _figures(scores, table, column, decision)],
        "groups": groups,
        "key": _key(groups),
        "facts": [
            *(ensemble_facts(read_json(run.ensemble)) if run.ensemble.exists() else []),
            *all_images_facts(scores),
            *facts_of(config_text),
        ],
        "config_text": config_text,
        "files": _files(run),
    }
    write_text(run.report, render("run.html", context))


def with_coverage(table: pd.DataFrame, coverage: Mapping[str, float], run: RunDir) -> pd.DataFrame:
    """`table` with a column coverage.

    Raises:
        RunError: an id of the table that the data set does not hold.
    """
    unknown = [name for name in table["id"] if name not in coverage]
    if unknown:
        raise RunError(
            f"{run.oof_scores}: {len(unknown)} ids are not in the data set, such as {unknown[0]!r}; "
            "the page needs the images that the run was scored on. Check dataset.root."
        )
    return table.assign(coverage=[coverage[name] for name in table["id"]])


def decision_text(decision: Decision, scores: Mapping[str, Any]) -> str:
    """The decision in a sentence, and whether it is the one that the scores were made with."""
    rules = [f"a pixel is foreground above a probability of {decision.threshold:g}"]
    if decision.min_area > 1:
        rules.append(f"a mask of fewer than {decision.min_area} pixels becomes empty")
    if decision.empty_gate > 0:
        rules.append(f"an image whose highest probability is below {decision.empty_gate:g} becomes empty")
    if decision.presence_gate:
        rules.append(
            f"an image that holds foreground with a probability below {decision.presence_gate:g} becomes empty"
        )
    stated = "; ".join(rules)
    if decision.to_json() == scores["decision"]:
        return f"The decision, tuned for {scores['tuned_for']}: {stated}."
    return (
        f"The decision, set by hand: {stated}. The scores on this page are those of the decision that was tuned for "
        f"{scores['tuned_for']}, {scores['decision']}; a submission is made with the one set by hand."
    )


def _cards(scores: Mapping[str, Any], table: pd.DataFrame) -> list[Card]:
    tuned_for, pooled, nested = scores["tuned_for"], scores["pooled"], scores["nested"]
    names = [tuned_for, *(name for name in ("iou_image", "iou_dataset", "precision_tgs") if name != tuned_for)][:3]
    cards = [
        Card(name, _number(pooled["at_decision"][name]), f"at 0.5: {_number(pooled['at_0.5'][name])}") for name in names
    ]
    if nested is not None:
        parts = "halves" if nested["by"] == "half" else "folds"
        cards.insert(1, Card("nested estimate", _number(nested["scores"][tuned_for]), f"{tuned_for}, over {parts}"))
    empty = int((table["coverage"] == 0).sum())
    cards.append(Card("images", f"{len(table):,}", f"{empty:,} with an empty truth"))
    return cards


def _score_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = [(f"fold {fold}", part, False) for fold, part in scores["per_fold"].items()]
    rows.append(("pooled", scores["pooled"], True))
    table = [
        {
            "label": label,
            "images": f"{part['images']:,}",
            "total": total,
            "cells": [
                {"neutral": _number(part["at_0.5"][name]), "decided": _number(part["at_decision"][name])}
                for name in SCORE_NAMES
            ],
        }
        for label, part, total in rows
    ]
    if scores["nested"] is not None:
        cells = [{"neutral": "", "decided": _number(scores["nested"]["scores"][name])} for name in SCORE_NAMES]
        table.append({"label": "nested", "images": f"{scores['pooled']['images']:,}", "total": False, "cells": cells})
    return table


def _presence_text(scores: Mapping[str, Any]) -> str:
    auc = scores["pooled"].get("presence_auc")
    if auc is None:
        return ""
    return (
        f"Presence, the networks' word on whether an image holds any foreground, ranks an image with foreground above "
        f"one without in {100 * auc:.1f} % of all such pairs (area under the ROC curve)."
    )


def _mistakes_text(table: pd.DataFrame) -> str:
    empty, wrong = table["coverage"] == 0, table["dice"] == 0
    return (
        f"{int((empty & wrong).sum()):,} of {int(empty.sum()):,} images with an empty truth got a mask; "
        f"{int((~empty & wrong).sum()):,} of {int((~empty).sum()):,} with foreground got none, or one that misses it."
    )


def _learning_curves(metrics: Mapping[int, pd.DataFrame], scores: Mapping[str, Any]) -> list[str]:
    metrics = {fold: table for fold, table in metrics.items() if len(table)}
    if not metrics:
        return []
    present = {name for table in metrics.values() for name in table.columns}
    wanted = {
        "loss": "Training loss",
        **{f"val_{name}": f"Validation {name}" for name in SCORE_NAMES},
        "lr": "Learning rate",
    }
    best = {int(fold): part["best_epoch"] for fold, part in scores.get("training", {}).items()}
    none: dict[int, int] = {}
    return [
        figures.learning_curve(metrics, name, title, best if name.startswith("val_") else none)
        for name, title in wanted.items()
        if name in present
    ]


def _figures(scores: Mapping[str, Any], table: pd.DataFrame, column: str, decision: Decision) -> list[str]:
    name = scores["tuned_for"]
    point = figures.Point(decision.threshold, scores["pooled"]["at_decision"][name])
    names = [name, *(other for other in SCORE_NAMES if other != name)]
    per_image, coverage = table[column].to_numpy(), table["coverage"].to_numpy(dtype=np.float64)
    return [
        figures.threshold_curve(scores["curve"], names, point),
        figures.score_by_coverage(coverage, per_image, column),
        figures.score_histogram(per_image, coverage == 0, column),
    ]


def _groups(table: pd.DataFrame, column: str, decision: Decision, load: Load) -> list[Group]:
    worst = extreme(table, column, "iou", ascending=True, count=SHOTS)
    best = extreme(table[table["coverage"] > 0], column, "iou", ascending=False, count=SHOTS)
    groups = [
        Group("Worst", f"lowest {column}", _shots(worst, column, decision, load)),
        Group("Best", f"highest {column} among images with foreground", _shots(best, column, decision, load)),
    ]
    return [group for group in groups if group.shots]


def _taken(table: pd.DataFrame, column: str, decision: Decision, load: Load, taken: Mapping[str, float]) -> list[Group]:
    """Images that a gate emptied though much of them is above the threshold, the largest first."""
    largest = sorted(taken, key=lambda name: (-taken[name], name))[:SHOTS]
    if not largest:
        return []
    rows = table.set_index("id", drop=False).loc[largest]
    return [Group("Emptied though large", f"{len(taken):,}: {taken_note()}", _shots(rows, column, decision, load))]


def _key(groups: list[Group]) -> list[tuple[str, str]]:
    """The kinds of outlines and their words; void only where a picture shows some."""
    kinds = {line.kind for group in groups for shot in group.shots for line in shot.picture.outlines}
    key = [("truth", "truth"), ("mask", "prediction")]
    return [*key, ("void", "void, not scored")] if "void" in kinds else key


def _shots(rows: pd.DataFrame, column: str, decision: Decision, load: Load) -> list[Shot]:
    shots = []
    for row in rows.to_dict("records"):
        sample = load(row["id"])
        mask = decide(sample.probs, decision, sample.presence)
        valid = sample.target != 255
        share = np.count_nonzero(mask[valid]) / max(1, int(np.count_nonzero(valid)))
        shots.append(
            Shot(
                id=row["id"],
                picture=picture(sample.image, {"mask": mask}, sample.target, sample.probs),
                score=f"{row[column]:.2f}",
                caption="" if column == "iou" else f"IoU {row['iou']:.3f}",
                note=f"truth {100 * row['coverage']:.1f} %, mask {100 * share:.1f} %",
            )
        )
    return shots


def _files(run: RunDir) -> list[str]:
    named = [
        run.config,
        run.environment,
        run.folds,
        run.ensemble,
        run.decision,
        run.scores,
        run.oof_scores,
        run.truth,
        run.submission,
        run.resemblance,
    ]
    found = [path for path in named if path.exists()] + sorted(run.path.glob("fold_*/metrics.csv"))
    return [path.relative_to(run.path).as_posix() for path in found]


def _number(score: float) -> str:
    return f"{score:.4f}"
