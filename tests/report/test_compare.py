"""Statements about runs against hand values; what cannot be compared; the page of a comparison."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from saltern.errors import ConfigError, RunError
from saltern.inference.decide import Decision, read_decision, write_decision
from saltern.metrics.differences import Comparison
from saltern.metrics.noise import Retrain
from saltern.report.artifacts import read_oof_scores
from saltern.report.compare import Known, Member, compare, write_compare
from saltern.report.pictures import Sample

STEADY = Known(retrain=Retrain(0.0))
"""Trainings that always come out the same, so that the images alone decide."""


def table(scores: list[float], folds: int = 2) -> pd.DataFrame:
    ids = [f"{number:03}" for number in range(len(scores))]
    return pd.DataFrame({"id": ids, "fold": [n % folds for n in range(len(scores))], "iou": scores, "dice": scores,
                         "precision_tgs": scores})  # fmt: skip


def no_picture(name: str) -> Sample:
    raise AssertionError(name)


def member(*nested: pd.DataFrame) -> Member:
    return Member(nested[0], Decision(0.5, 0, 0.0), no_picture, nested)


def compared(runs: dict[str, pd.DataFrame], score: str = "iou", known: Known = STEADY) -> list[Comparison]:
    return compare({name: member(scores) for name, scores in runs.items()}, known, score)[0]


def test_wins_ties_and_means_by_hand_whatever_the_order_of_the_rows() -> None:
    first, second = table([0.5, 0.3, 0.2, 1.0], folds=1), table([0.7, 0.3, 0.1, 1.0], folds=1)
    (found,) = compared({"a": first, "b": second.iloc[::-1]})
    assert (found.run, found.baseline, found.images) == ("b", "a", 4)
    assert (found.wins, found.ties, found.losses) == (1, 2, 1)
    assert (found.mean, found.baseline_mean) == pytest.approx((0.525, 0.5))
    assert found.difference == pytest.approx(0.025)
    assert found.interval.se == pytest.approx(np.std([0.2, 0, -0.1, 0], ddof=1) / 2)
    assert found.same_folds
    assert found.word == "cannot be told apart"
    assert f"a difference beyond ± {max(-found.low, found.high):.4f} can be excluded" in found.verdict


def test_scores_that_differ_by_rounding_alone_are_ties() -> None:
    (found,) = compared({"a": table([0.3, 0.3]), "b": table([0.1 + 0.2, 0.3])}, "precision_tgs")
    assert (found.wins, found.ties, found.losses) == (0, 2, 0)
    assert (found.low, found.high) == (0, 0)


def test_a_clear_difference_is_called_one_with_its_direction() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.6, 200)
    better = (base + rng.normal(0.05, 0.1, 200)).tolist()
    runs = {"a": table(base.tolist(), 1), "b": table(better, 1), "c": table((base - 0.1).tolist(), 1)}
    up, down = compared(runs, "dice")
    change = np.array(better) - base
    half = stats.t.ppf(1 - 0.025 / 2, 199) * change.std(ddof=1) / np.sqrt(200)
    assert (up.low, up.high) == pytest.approx((change.mean() - half, change.mean() + half), abs=1e-3)
    assert up.word == "higher"
    assert "b scores higher than a" in up.verdict
    assert "c scores lower than a, by 0.1000" in down.verdict


def test_a_retrain_takes_the_verdict_back_and_seeds_give_it_again() -> None:
    rng = np.random.default_rng(1)
    base = rng.uniform(0.2, 0.6, 1000)
    shifted = base + 0.012 + rng.normal(0, 0.05, 1000)
    runs = {"a": table(base.tolist(), 1), "b": table(shifted.tolist(), 1)}
    assert compared(runs)[0].word == "higher"
    (single,) = compared(runs, known=Known())
    assert single.word == "cannot be told apart"
    assert single.seeds == (1, 1)
    eight = {name: member(*[scores] * 8) for name, scores in runs.items()}
    (many,) = compare(eight, Known(), "iou")[0]
    assert (many.word, many.seeds) == ("higher", (8, 8))
    assert many.interval.retrain == pytest.approx(single.interval.retrain / 8)


def test_a_page_of_nine_runs_that_differ_by_chance_seldom_calls_one_clear() -> None:
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(200):
        runs = {name: table((0.5 + rng.normal(0, 0.1, 60)).tolist(), 1) for name in "abcdefghij"}
        false += any(found.word != "cannot be told apart" for found in compared(runs))
    assert false <= 20  # 10 expected at 5 %; uncorrected it is 50


def test_images_of_one_group_count_as_one() -> None:
    rng = np.random.default_rng(3)
    change = np.repeat(rng.normal(0.02, 0.05, 15), 20)
    runs = {"a": table([0.5] * 300, 1), "b": table((0.5 + change).tolist(), 1)}
    clusters = {f"{number:03}": str(number // 20) for number in range(300)}
    (alone,), (grouped,) = compared(runs), compared(runs, known=Known(clusters, Retrain(0.0)))
    assert (alone.interval.clusters, grouped.interval.clusters) == (300, 15)
    totals = change.reshape(15, 20).mean(axis=1)
    assert grouped.interval.se == pytest.approx(totals.std(ddof=1) / np.sqrt(15))
    assert grouped.interval.se > 4 * alone.interval.se


def test_a_single_image_or_a_single_group_says_nothing() -> None:
    (one,) = compared({"a": table([0.1]), "b": table([0.9])})
    assert "cannot be said: there is a single image" in one.verdict
    known = Known({"000": "x", "001": "x"})
    (group,) = compared({"a": table([0.1, 0.2]), "b": table([0.9, 0.9])}, known=known)
    assert "all images belong to one group" in group.verdict


def test_other_folds_are_noticed() -> None:
    scores = [0.1, 0.2, 0.3, 0.4]
    (found,) = compared({"a": table(scores, folds=2), "b": table(scores, folds=4)})
    assert not found.same_folds


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        compared({"a": table([0.1])})
    with pytest.raises(ConfigError, match=r"unknown column 'iuo'.*'iou'"):
        compared({"a": table([0.1]), "b": table([0.1])}, "iuo")
    with pytest.raises(RunError, match=r"1 only in a, 0 only in b, such as '001'"):
        compared({"a": table([0.1, 0.2]), "b": table([0.1])})


def drawn_member(run: Any) -> Member:
    nested = [read_oof_scores(run.run.oof_nested)]
    return Member(read_oof_scores(run.run.oof_scores), read_decision(run.run.decision), run.load, nested)


def test_the_page_names_every_run_and_shows_the_largest_changes(draw_run: Callable) -> None:
    drawn = {name: draw_run(name=name, seed=seed) for name, seed in (("one<b>", 0), ("two", 0), ("three", 0))}
    rng = np.random.default_rng(5)
    for sample in drawn["two"].samples.values():
        sample.probs[:] = np.clip(sample.probs + rng.normal(0, 0.15, sample.probs.shape), 0, 1)
    drawn["two"]._write(2)
    members = {name: drawn_member(run) for name, run in drawn.items()}
    path = drawn["two"].run.path.parent / "compare" / "x" / "report.html"
    found = write_compare(path, members, Known(notes=["Mind the <gap>."]), "iou", drawn["two"].coverage)
    text = path.read_text()
    assert [entry.run for entry in found] == ["two", "three"]
    assert found[1].ties == found[1].images
    assert "one<b>" not in text
    assert "one&lt;b&gt;" in text
    assert "No image differs" in text
    assert "97.5 % (Bonferroni)" in text
    assert "make seeds name=one&lt;b&gt; seeds=[1,2,3]" in text
    assert "Mind the &lt;gap&gt;." in text
    assert "too few images" in text
    worst = (
        members["two"].table.set_index("id")["iou"] - members["one<b>"].table.set_index("id")["iou"]
    ).sort_values().index[0]  # fmt: skip
    assert worst in drawn["two"].loaded
    assert len(set(drawn["two"].loaded)) <= 24
    assert drawn["three"].loaded == []


def test_a_run_with_presence_compares_with_one_without(draw_run: Callable) -> None:
    drawn = {"plain": draw_run(name="plain"), "gated": draw_run(name="gated", presence=True)}
    write_decision(drawn["gated"].run.decision, Decision(0.4, 0, 0.0, 0.5))
    members = {name: drawn_member(run) for name, run in drawn.items()}
    for scores in (members["gated"].table, *members["gated"].nested):
        scores.loc[:, "iou"] = 0.0
    path = drawn["gated"].run.path.parent / "compare" / "x" / "report.html"
    (found,) = write_compare(path, members, Known(), "iou", drawn["plain"].coverage)
    assert found.losses > 0
    assert drawn["gated"].loaded == drawn["plain"].loaded != []
    assert "gated scores lower than plain" in path.read_text()
