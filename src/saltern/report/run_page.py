"""One page about a run: its scores and what to believe of them, its curves, and all of its images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from saltern.errors import RunError
from saltern.files import read_json, write_text
from saltern.inference.decide import Decision, decide, read_decision
from saltern.metrics.scores import MEAN_OF
from saltern.report.artifacts import read_metrics, read_oof_scores, read_scores
from saltern.report.belief import assumptions_of, neutral_text, steps_of, trusted
from saltern.report.blend import blend_chapter
from saltern.report.browser import browser_of, page_key
from saltern.report.cautions import cautions_of
from saltern.report.coverage import extreme
from saltern.report.decisions import shape_words
from saltern.report.facts import all_images_facts, ensemble_facts, facts_of, phases_in
from saltern.report.page import Card, Group, Shot, render
from saltern.report.pictures import Load, picture
from saltern.report.resembling import read_resembling, taken_note
from saltern.report.run_figures import SCORE_NAMES, belief_figure, drift_chapter, evidence_chapter, training_chapter
from saltern.report.survey import Beside, survey
from saltern.report.tiles import TileWriter
from saltern.runs import RunDir

SHOTS = 12
"""Pictures in each group of a page without scripts."""


def write_report(run: RunDir, load: Load, coverage: Mapping[str, float], beside: Beside | None = None) -> list[Path]:
    """Write `report.html` of a run whose stage `tune` is done, and its side files where it would be heavy.

    Args:
        run: read: scores.json, decision.json, oof_scores.csv; where they exist also config.yaml, fold_k/metrics.csv.
        load: gives image, target and out-of-fold probabilities of an id; called once for every image, and again for
            those that stand on a page without scripts.
        coverage: share of foreground among the valid pixels of the truth, for every id of oof_scores.csv.
        beside: groups, members, test images, progress; None: nothing of it is known, and no gate is asked what it took.

    Returns:
        Every file that was written.

    Raises:
        RunError: an artifact is missing or not what its stage writes, or an id has no coverage.
    """
    alone, beside = beside is None, beside or Beside()
    scores, decision = read_scores(run), read_decision(run.decision)
    table = with_coverage(read_oof_scores(run.oof_scores), coverage, run)
    metrics = read_metrics(run)
    column = MEAN_OF.get(scores["tuned_for"], "iou")
    config_text = run.config.read_text(encoding="utf-8") if run.config.exists() else ""
    facts = facts_of(config_text)
    decisions = [decision, Decision(threshold=scores["decision"]["threshold"])]
    thresholds = scores["curve"]["threshold"]
    with TileWriter(run.report_tiles, page_key(table, decision)) as writer:
        found = survey(table["id"].tolist(), load, decisions, thresholds, beside, writer)
    resembling = read_resembling(run)
    test = None if beside.test is None else drift_chapter(found, beside.test(decision))
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
        "belief": belief_figure(scores),
        "neutral_text": neutral_text(scores),
        "assumptions": assumptions_of(scores),
        "presence_text": _presence_text(scores),
        "mistakes_text": _mistakes_text(table),
        "blend": blend_chapter(run),
        "training": training_chapter(metrics, scores, phases_in(facts)),
        "evidence": evidence_chapter(found, scores, table, column, decision),
        "test": test,
        "browser": browser_of(found, table, decision, scores, column, beside, writer),
        "groups": _groups(table, column, decision, load),
        "taken": [] if alone else _taken(table, column, decision, load, found.taken),
        "facts": [
            *(ensemble_facts(read_json(run.ensemble)) if run.ensemble.exists() else []),
            *all_images_facts(scores),
            *facts,
        ],
        "config_text": config_text,
        "files": _files(run),
    }
    write_text(run.report, render("run.html", context))
    return [run.report, *writer.files]


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
    rules = [f"a pixel is foreground above a probability of {decision.threshold:g}", *shape_words(decision.shape)]
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
        number, kind = trusted(scores)
        less = "" if kind == "nested" else ", less selection"
        cards.insert(1, Card("to believe", _number(number), f"{tuned_for}, nested over {parts}{less}"))
    empty = int((table["coverage"] == 0).sum())
    forecast = scores.get("forecast")
    if forecast is not None:
        value = f"{_number(forecast['low'])} to {_number(forecast['high'])}"
        cards.insert(2, Card("forecast", value, f"{tuned_for} of the test, 95 %"))
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
