"""Paired statistics against hand values, scipy and simulation; the page of a comparison."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from saltern.errors import ConfigError, RunError
from saltern.inference.decide import Decision, read_decision, write_decision
from saltern.report.artifacts import read_oof_scores
from saltern.report.compare import Member, bootstrap, compare, write_compare


def table(scores: list[float], folds: int = 2) -> pd.DataFrame:
    ids = [f"{number:03}" for number in range(len(scores))]
    return pd.DataFrame({"id": ids, "fold": [n % folds for n in range(len(scores))], "iou": scores, "dice": scores,
                         "precision_tgs": scores})  # fmt: skip


def test_wins_ties_and_means_by_hand_whatever_the_order_of_the_rows() -> None:
    first, second = table([0.5, 0.3, 0.2, 1.0]), table([0.7, 0.3, 0.1, 1.0])
    (found,) = compare({"a": first, "b": second.iloc[::-1]}, "iou")
    assert (found.run, found.baseline, found.images) == ("b", "a", 4)
    assert (found.wins, found.ties, found.losses) == (1, 2, 1)
    assert (found.mean, found.baseline_mean) == pytest.approx((0.525, 0.5))
    assert found.difference == pytest.approx(0.025)
    assert found.p_sign == 1
    assert found.same_folds
    assert "no clear difference" in found.verdict


def test_scores_that_differ_by_rounding_alone_are_ties() -> None:
    (found,) = compare({"a": table([0.3]), "b": table([0.1 + 0.2])}, "precision_tgs")
    assert (found.wins, found.ties, found.losses) == (0, 1, 0)
    assert (found.p_wilcoxon, found.p_sign) == (1, 1)


def test_a_clear_difference_is_called_one_with_its_direction() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.6, 200)
    better = table((base + rng.normal(0.05, 0.1, 200)).tolist())
    up, down = compare({"a": table(base.tolist()), "b": better, "c": table((base - 0.1).tolist())}, "dice")
    change = np.round(better["dice"].to_numpy() - base, 9)
    assert up.low < up.difference < up.high
    assert up.low > 0
    assert "b scores higher than a" in up.verdict
    assert up.p_wilcoxon == pytest.approx(stats.wilcoxon(change).pvalue)
    assert up.p_sign == pytest.approx(stats.binomtest(int((change > 0).sum()), 200).pvalue)
    assert "c scores lower than a, by 0.1000" in down.verdict


def test_the_interval_agrees_with_the_normal_approximation_and_repeats() -> None:
    change = np.random.default_rng(1).normal(0.02, 0.1, 1000)
    low, high = bootstrap(change)
    half = 1.96 * change.std() / np.sqrt(1000)
    assert (low, high) == pytest.approx((change.mean() - half, change.mean() + half), abs=4e-4)
    assert bootstrap(change) == (low, high)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        low, high = bootstrap(rng.choice([-0.1, 0.0, 0.0, 0.3], 60))
        covered += low <= 0.05 <= high
    assert 87 <= covered <= 100


def test_other_folds_are_noticed() -> None:
    scores = [0.1, 0.2, 0.3, 0.4]
    (found,) = compare({"a": table(scores, folds=2), "b": table(scores, folds=4)}, "iou")
    assert not found.same_folds


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="two or more"):
        compare({"a": table([0.1])}, "iou")
    with pytest.raises(ConfigError, match=r"unknown column 'iuo'.*'iou'"):
        compare({"a": table([0.1]), "b": table([0.1])}, "iuo")
    with pytest.raises(RunError, match=r"1 only in a, 0 only in b, such as '001'"):
        compare({"a": table([0.1, 0.2]), "b": table([0.1])}, "iou")


def test_the_page_names_every_run_and_shows_the_largest_changes(draw_run: Callable) -> None:
    drawn = {name: draw_run(name=name, seed=seed) for name, seed in (("one<b>", 0), ("two", 0), ("three", 0))}
    rng = np.random.default_rng(5)
    for sample in drawn["two"].samples.values():
        sample.probs[:] = np.clip(sample.probs + rng.normal(0, 0.15, sample.probs.shape), 0, 1)
    drawn["two"]._write(2)
    members = {
        name: Member(read_oof_scores(run.run.oof_scores), read_decision(run.run.decision), run.load)
        for name, run in drawn.items()
    }
    path = drawn["two"].run.path.parent / "compare" / "x" / "report.html"
    found = write_compare(path, members, "iou", drawn["two"].coverage)
    text = path.read_text()
    assert [entry.run for entry in found] == ["two", "three"]
    assert found[1].ties == found[1].images
    assert "one<b>" not in text
    assert "one&lt;b&gt;" in text
    assert "No image differs" in text
    assert "Of several comparisons" in text
    worst = (
        members["two"].table.set_index("id")["iou"] - members["one<b>"].table.set_index("id")["iou"]
    ).sort_values().index[0]  # fmt: skip
    assert worst in drawn["two"].loaded
    assert len(set(drawn["two"].loaded)) <= 24
    assert drawn["three"].loaded == []


def test_a_run_with_presence_compares_with_one_without(draw_run: Callable) -> None:
    drawn = {"plain": draw_run(name="plain"), "gated": draw_run(name="gated", presence=True)}
    write_decision(drawn["gated"].run.decision, Decision(0.4, 0, 0.0, 0.5))
    members = {
        name: Member(read_oof_scores(run.run.oof_scores), read_decision(run.run.decision), run.load)
        for name, run in drawn.items()
    }
    members["gated"].table.loc[:, "iou"] = 0.0
    path = drawn["gated"].run.path.parent / "compare" / "x" / "report.html"
    (found,) = write_compare(path, members, "iou", drawn["plain"].coverage)
    assert found.losses > 0
    assert drawn["gated"].loaded == drawn["plain"].loaded != []
    assert "gated scores lower than plain" in path.read_text()
