"""Means of runs: weights against brute force, maps against scikit-learn, and no leak into what is fitted for a part."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from saltern.config.schema import InferenceConfig
from saltern.inference.blending import MOST_CANDIDATES, fit, lattice
from saltern.inference.calibrate import LEVELS, Platt, fit_platt, histogram, places, table_of
from saltern.inference.decide import Decision, decide
from saltern.inference.ensemble import Recipe
from saltern.inference.judging import Bench, Candidate, Ground, Judged, look
from saltern.inference.predictions import SUREST, Prediction
from saltern.inference.tune import Sample, collect, counts_at, tune
from saltern.metrics.scores import count_pixels, summarise

CONFIG = InferenceConfig(
    tune_for="iou_image", thresholds=[0.2, 0.3, 0.4, 0.5, 0.6, 0.7], min_areas=[0, 4], empty_gates=[0.0]
)
Drawn = list[tuple[str, list[Prediction], np.ndarray]]


def draw(noises: list[float], images: int = 24, seed: int = 0, gains: list[float] | None = None) -> Drawn:
    """A run for each of `noises`: logits are a field's with noise of its own; `gains` make a run too sure."""
    rng, drawn = np.random.default_rng(seed), []
    for number in range(images):
        field = rng.normal(size=(9, 9)) * 1.5 - (2.0 if number % 4 == 0 else 0.0)
        target = (field > 0).astype(np.uint8)
        said = [
            Prediction(expit(gain * (field + rng.normal(0, noise, field.shape))).astype(np.float16), None)
            for noise, gain in zip(noises, gains or [1.5] * len(noises), strict=True)
        ]
        if number % 3 == 1:
            target[0] = 255
        drawn.append((f"{number:02}", said, target))
    return drawn


def bench_of(drawn: Drawn, how: str = "probs", parts: int = 3, config: InferenceConfig = CONFIG) -> Bench:
    ids = tuple(id for id, _, _ in drawn)
    owners = np.arange(len(drawn)) % parts
    ground = Ground(ids, owners, "fold", owners, config)

    def source() -> Iterator[tuple[str, list[Prediction], np.ndarray]]:
        return iter(drawn)

    return Bench(source, ground, how, look(source, ground, len(drawn[0][1])))


def test_the_lattice_is_all_of_the_simplex_with_its_step_and_the_nearest_to_equal_comes_first() -> None:
    for runs, steps in ((2, 20), (3, 10), (4, 5)):
        wanted = {tuple(round(number / steps, 12) for number in numbers)
                  for numbers in product(range(steps + 1), repeat=runs) if sum(numbers) == steps}  # fmt: skip
        found = lattice(runs)
        assert wanted <= set(found)
        assert len(found) == len(set(found)) <= MOST_CANDIDATES + runs + 1
        assert found[0] == pytest.approx([1 / runs] * runs)
    assert len(lattice(12)) <= 12 * 13 / 2 + 13
    assert all(sum(weights) == pytest.approx(1) and min(weights) >= 0 for weights in lattice(7))


@pytest.mark.parametrize("how", ["probs", "logits", "vote"])
def test_a_mean_is_what_its_formula_says(how: str) -> None:
    said, target = draw([0.5, 1.0, 2.0])[1][1:]
    probs, weights = np.stack([one.probs for one in said]).astype(np.float64), np.array([3.0, 0.0, 1.0])
    decisions = (Decision(0.4), Decision(0.5), Decision(0.6, min_area=3))
    masks = np.stack([decide(one.probs, each) for one, each in zip(said, decisions, strict=True)])
    terms = {"probs": probs, "logits": logit(probs.clip(SUREST, 1 - SUREST)), "vote": masks}[how]
    expected = np.tensordot(weights / 4, terms, 1)
    found = Recipe(tuple(weights), how, (), decisions if how == "vote" else ()).mean(said).probs
    np.testing.assert_allclose(found, expit(expected) if how == "logits" else expected, atol=2e-6)
    assert found.shape == target.shape


def test_maps_come_before_the_mean_and_presence_is_averaged() -> None:
    said = [Prediction(np.array([[0.2, 0.9]], np.float16), 0.5), Prediction(np.array([[0.4, 1.0]], np.float16), 1.0)]
    platt = Platt(0.5, -1.0)
    probs = np.stack([one.probs for one in said]).astype(np.float64)
    mapped = expit(0.5 * logit(probs[0].clip(SUREST, 1 - SUREST)) - 1)
    found = Recipe((1.0, 3.0), "probs", (platt, None)).mean(said)
    np.testing.assert_allclose(found.probs, (mapped + 3 * probs[1]) / 4, atol=1e-6)
    assert found.presence == pytest.approx((0.5 + 3 * 1.0) / 4)


def test_every_half_precision_probability_has_its_place() -> None:
    assert len(LEVELS) == 15361
    np.testing.assert_array_equal(places(LEVELS.astype(np.float16)), np.arange(15361))
    assert places(np.array([-0.0, 1 + 5e-4, -1e-5], np.float32)).tolist() == [0, 15360, 0]
    assert (np.diff(table_of(Platt(0.3, 1.0), "probs")) >= 0).all(), "maps are monotone"


def test_a_map_is_scikit_learns_fit_of_the_pixels_themselves() -> None:
    drawn = draw([1.0], images=6, gains=[5.0])
    counted = sum(histogram(said[0].probs, target) for _, said, target in drawn)
    valid = [target != 255 for _, _, target in drawn]
    probs = np.concatenate([said[0].probs[rows] for (_, said, _), rows in zip(drawn, valid, strict=True)])
    truth = np.concatenate([target[rows] for (_, _, target), rows in zip(drawn, valid, strict=True)])
    logits = logit(probs.astype(np.float64).clip(SUREST, 1 - SUREST))[:, None]
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(logits, truth)
    found = fit_platt(counted)
    assert found is not None
    assert (found.slope, found.offset) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), rel=1e-3, abs=1e-3)
    assert found.slope < 0.7, "a run that is too sure is made less so"
    assert fit_platt(counted[::-1]) is None, "a map that turns probabilities around is none"
    assert fit_platt(counted * [[1], [0]]) is None


def nested_by_force(drawn: Drawn, weights: list[tuple[float, ...]], parts: int) -> float:
    """Weights and decision from a plain double loop: for each part, all weights tuned on the other images' pixels."""
    rows = []
    means = {each: [Sample(id, np.tensordot(each, np.stack([one.probs for one in said]).astype(np.float32), 1)
                           .astype(np.float16), target) for id, said, target in drawn] for each in weights}  # fmt: skip
    for part in range(parts):
        best = {}
        for each in weights:
            others = [sample for place, sample in enumerate(means[each]) if place % parts != part]
            best[each] = tune(collect(others, CONFIG.thresholds), CONFIG)
        chosen = max(weights, key=lambda each: round(best[each].score / 1e-9))
        for sample in means[chosen][part::parts]:
            rows.append(count_pixels(decide(sample.probs, best[chosen].decision), sample.target))
    return summarise(np.array(rows))["iou_image"]


def test_nested_is_that_of_a_plain_double_loop_and_finds_the_better_run() -> None:
    drawn = draw([0.4, 2.5], images=18)
    found = fit(bench_of(drawn), ["good", "bad"], None, calibrate=False)
    nested = found.facts["nested"]
    assert nested["scores"]["iou_image"] == pytest.approx(nested_by_force(drawn, lattice(2), 3), abs=5e-3)
    assert found.candidate.weights[0] > 0.5
    assert nested["scores"]["iou_image"] > nested["equal"]
    assert nested["candidates"] == len(lattice(2))
    assert {part["images"] for part in nested["parts"].values()} == {6}
    assert found.facts["gain"]["over"] == "good"


def test_independent_runs_gain_by_their_mean_and_copies_do_not() -> None:
    apart = fit(bench_of(draw([1.2, 1.2, 1.2], images=30)), ["a", "b", "c"], [1.0, 1.0, 1.0], calibrate=False).facts
    assert apart["gain"]["low"] > 0
    scores = [point["score"] for point in apart["curve"]]
    assert len(scores) == 3
    assert scores[-1] > scores[0] == max(apart["nested"]["singles"].values())
    assert 0 < apart["correlation"][0][1] < 0.6
    one = draw([1.2], images=12)
    copies = fit(
        bench_of([(id, said * 2, target) for id, said, target in one]), ["a", "b"], [1.0, 3.0], calibrate=False
    )
    assert copies.facts["gain"]["mean"] == 0
    assert copies.facts["correlation"] == [[pytest.approx(1), pytest.approx(1)]] * 2


def test_correlation_is_numpys_over_all_valid_pixels() -> None:
    drawn = draw([0.5, 1.0, 1.5])
    errors = [
        np.concatenate([(said[run].probs.astype(float) - target)[target != 255] for _, said, target in drawn])
        for run in range(3)
    ]
    np.testing.assert_allclose(bench_of(drawn).alone.correlation, np.corrcoef(errors), atol=1e-9)


def test_nothing_fitted_for_a_part_has_seen_it() -> None:
    """The truth of one part is turned over: all that was fitted for its images stays the same, bit for bit.

    Weights of masks are fitted on the masks of the other parts, whose decisions saw this one, as the docs say.
    """
    drawn = draw([0.6, 1.5], gains=[1.5, 6.0], images=18)
    turned = [(id, said, np.where(target == 255, 255, 1 - target).astype(np.uint8) if place % 3 == 1 else target)
              for place, (id, said, target) in enumerate(drawn)]  # fmt: skip
    for how in ("probs", "vote"):
        pairs = []
        for images in (drawn, turned):
            bench = bench_of(images, how)
            maps, decisions = bench.alone.maps[1], bench.alone.decisions(1)
            weights = [Candidate(each) for each in lattice(2)]
            worth = bench.judge(weights)
            chosen = [(one.inner[1], one.decisions[1]) for one in worth] if how == "probs" else []
            pairs.append((maps, decisions, chosen))
        assert pairs[0] == pairs[1]
        assert bench_of(drawn, how).alone.maps[0] != bench_of(turned, how).alone.maps[0], "others see the change"


def test_a_run_that_is_too_sure_is_calibrated_where_that_helps_and_only_there() -> None:
    """Two runs, the better one hesitant: in a plain mean the sure one drowns it."""
    drawn = draw([0.5, 2.0], images=24, gains=[0.4, 12.0])
    mapped = fit(bench_of(drawn), ["hesitant", "sure"], [1.0, 1.0], calibrate=True)
    assert mapped.candidate.calibrated
    assert mapped.facts["nested"]["scores"]["iou_image"] > mapped.facts["nested"]["uncalibrated"] + 0.02
    rng, right = np.random.default_rng(0), []
    for number in range(12):
        probs = rng.choice([0.1, 0.25, 0.75, 0.9], (24, 24))
        said = [Prediction(probs.astype(np.float16), None)] * 2
        right.append((f"{number:02}", said, (rng.random((24, 24)) < probs).astype(np.uint8)))
    same = fit(bench_of(right), ["a", "b"], [1.0, 1.0], calibrate=True)
    assert same.candidate == Candidate((1.0, 1.0)), "what means what it says is left alone"


def test_judged_counts_are_those_of_decisions_made_from_the_stored_mean() -> None:
    drawn = draw([0.8, 1.2], images=9)
    bench = bench_of(drawn, "logits")
    candidate = Candidate((0.3, 0.7))
    (worth,) = bench.judge([candidate])
    assert isinstance(worth, Judged)
    for place, (_, said, target) in enumerate(drawn):
        probs = bench.recipe(candidate, place % 3).mean(said).probs.astype(np.float16)
        assert worth.counts[place].tolist() == list(count_pixels(decide(probs, worth.decisions[place % 3]), target))
    judged = bench.judged
    bench.judge([candidate])
    assert bench.judged == judged, "none is judged twice"


def test_a_pixelless_grid_of_shapes_reaches_the_ensemble_too() -> None:
    shapes = replace(CONFIG, tune=replace(CONFIG.tune, largest=[0, 1]))
    bench = bench_of(draw([0.8, 1.2], images=9), config=shapes)
    (worth,) = bench.judge([Candidate((1.0, 1.0))])
    assert worth.decision.largest in (0, 1)
    samples = [Sample(id, Recipe((1.0, 1.0)).mean(said).probs.astype(np.float16), target)
               for id, said, target in draw([0.8, 1.2], images=9)]  # fmt: skip
    statistics = collect(samples, shapes.thresholds, [worth.decision.shape])
    by_pixels = [count_pixels(decide(each.probs, worth.decision), each.target) for each in samples]
    np.testing.assert_array_equal(counts_at(statistics, worth.decision), by_pixels)
