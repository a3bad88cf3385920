"""Score tables and the nested estimate, against the same done by hand."""

import json

import numpy as np
import pytest

from saltern.config.choices import MONITORS
from saltern.config.schema import InferenceConfig
from saltern.errors import RunError
from saltern.inference import estimate
from saltern.inference.choice import choose
from saltern.inference.decide import NEUTRAL, Decision, decide
from saltern.inference.halves import balanced_halves, clusters_of
from saltern.inference.tune import Sample, collect, tune
from saltern.metrics.scores import count_pixels, summarise

CONFIG = InferenceConfig(thresholds=[0.3, 0.4, 0.5, 0.6], min_areas=[0, 4], empty_gates=[0.0, 0.7])
DECISION = Decision(0.4, 4, 0.7)


def draw(n: int = 24, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(n):
        target = (rng.random((6, 6)) < (number % 3) * 0.3).astype(np.uint8)
        probs = np.clip(0.2 + 0.3 * target + rng.normal(0, 0.2, (6, 6)), 0, 1).astype(np.float32)
        samples.append(Sample(f"{number:04}", probs, target))
    return samples


SAMPLES = draw()
STATISTICS = collect(SAMPLES, CONFIG.thresholds)
FOLDS = {sample.id: row % 3 for row, sample in enumerate(SAMPLES)}
RNG = np.random.default_rng(5)
WITH_PRESENCE = [
    sample._replace(presence=round(float(np.clip(RNG.normal(0.3 + 0.3 * sample.target.any(), 0.2), 0, 1)), 1))
    for sample in SAMPLES
]


def scores_by_force(samples: list[Sample], decision: Decision) -> dict[str, float]:
    return summarise(np.array([counts_by_force(sample, decision) for sample in samples]))


def counts_by_force(sample: Sample, decision: Decision) -> tuple[int, int, int]:
    return count_pixels(decide(sample.probs, decision, sample.presence), sample.target)


def test_the_table_holds_a_row_an_image_with_its_scores_at_the_decision() -> None:
    table = estimate.score_table(STATISTICS, FOLDS, DECISION)
    assert list(table.columns) == ["id", "fold", "iou", "dice", "precision_tgs"]
    assert table["id"].tolist() == [sample.id for sample in SAMPLES]
    assert table["fold"].tolist() == [FOLDS[name] for name in table["id"]]
    means = scores_by_force(SAMPLES, DECISION)
    assert table["iou"].mean() == pytest.approx(means["iou_image"])
    assert table["dice"].mean() == pytest.approx(means["dice_image"])
    assert table["precision_tgs"].mean() == pytest.approx(means["precision_tgs"])


def test_scores_per_fold_and_pooled_at_both_decisions() -> None:
    content = estimate.scores_json(STATISTICS, FOLDS, DECISION, CONFIG)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["decision"] == {"threshold": 0.4, "min_area": 4, "empty_gate": 0.7}
    assert content["pooled"]["images"] == 24
    assert content["pooled"]["at_0.5"] == pytest.approx(scores_by_force(SAMPLES, NEUTRAL))
    assert sorted(content["per_fold"]) == ["0", "1", "2"]
    for fold, entry in content["per_fold"].items():
        own = [sample for sample in SAMPLES if FOLDS[sample.id] == int(fold)]
        assert entry["images"] == len(own) == 8
        assert entry["at_decision"] == pytest.approx(scores_by_force(own, DECISION))
    curve = content["curve"]
    assert curve["threshold"] == CONFIG.thresholds
    assert sorted(curve) == sorted(["threshold", *MONITORS])
    assert curve["iou_dataset"] == pytest.approx(
        [scores_by_force(SAMPLES, Decision(threshold, 4, 0.7))["iou_dataset"] for threshold in CONFIG.thresholds]
    )


def test_with_presence_scores_and_curve_are_those_of_the_gate_and_its_auc_stands_in_pooled_alone() -> None:
    statistics = collect(WITH_PRESENCE, CONFIG.thresholds)
    decision = Decision(0.4, 4, 0.0, 0.4)
    content = estimate.scores_json(statistics, FOLDS, decision, CONFIG)
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["decision"] == {"threshold": 0.4, "min_area": 4, "empty_gate": None, "presence_gate": 0.4}
    assert content["pooled"]["at_decision"] == pytest.approx(scores_by_force(WITH_PRESENCE, decision))
    assert content["pooled"]["at_decision"] != pytest.approx(scores_by_force(WITH_PRESENCE, Decision(0.4, 4)))
    assert content["pooled"]["at_0.5"] == pytest.approx(scores_by_force(WITH_PRESENCE, NEUTRAL))
    assert content["curve"]["dice_image"] == pytest.approx(
        [scores_by_force(WITH_PRESENCE, Decision(value, 4, 0.0, 0.4))["dice_image"] for value in CONFIG.thresholds]
    )
    table = estimate.score_table(statistics, FOLDS, decision)
    assert table["iou"].mean() == pytest.approx(scores_by_force(WITH_PRESENCE, decision)["iou_image"])
    full = [sample.presence for sample in WITH_PRESENCE if (sample.target == 1).any()]
    empty = [sample.presence for sample in WITH_PRESENCE if not (sample.target == 1).any()]
    pairs = [(high > low) + 0.5 * (high == low) for high in full for low in empty]
    assert content["pooled"]["presence_auc"] == pytest.approx(sum(pairs) / len(pairs))
    assert all("presence_auc" not in part for part in content["per_fold"].values())
    assert "presence_auc" not in estimate.scores_json(STATISTICS, FOLDS, DECISION, CONFIG)["pooled"]
    alike = estimate.scores_json(collect(WITH_PRESENCE[:1], CONFIG.thresholds), FOLDS, decision, CONFIG)
    assert alike["pooled"]["presence_auc"] is None


@pytest.mark.parametrize("samples", [SAMPLES, WITH_PRESENCE], ids=["pixels", "presence"])
def test_the_nested_estimate_tunes_on_the_other_folds_and_scores_the_one_left_out(samples: list[Sample]) -> None:
    nested = estimate.nested_estimate(collect(samples, CONFIG.thresholds), FOLDS, CONFIG)
    counts = []
    for fold in range(3):
        rest = [sample for sample in samples if FOLDS[sample.id] != fold]
        own = [sample for sample in samples if FOLDS[sample.id] == fold]
        decision = choose(collect(rest, CONFIG.thresholds), CONFIG).decision
        assert nested["parts"][str(fold)]["decision"] == decision.to_json()
        assert ("presence_gate" in decision.to_json()) == (samples is WITH_PRESENCE)
        assert nested["parts"][str(fold)]["scores"] == pytest.approx(scores_by_force(own, decision))
        counts += [counts_by_force(sample, decision) for sample in own]
    assert nested["by"] == "fold"
    assert nested["scores"] == pytest.approx(summarise(np.array(counts)))


def test_the_nested_estimate_of_pure_noise_does_not_promise_what_tuning_found() -> None:
    rng = np.random.default_rng(3)
    noise = [
        Sample(f"{n}", rng.random((3, 3)).astype(np.float32), (rng.random((3, 3)) < 0.5).astype(np.uint8))
        for n in range(40)
    ]
    statistics = collect(noise, InferenceConfig().thresholds)
    tuned = tune(statistics, InferenceConfig())
    nested = estimate.nested_estimate(
        statistics, {sample.id: int(sample.id) % 5 for sample in noise}, InferenceConfig()
    )
    assert nested["scores"]["precision_tgs"] < tuned.score - 0.002


def test_one_fold_is_halved_by_id_whatever_the_order() -> None:
    one = dict.fromkeys(FOLDS, 2)
    nested = estimate.nested_estimate(STATISTICS, one, CONFIG)
    assert nested["by"] == "half"
    assert [part["images"] for part in nested["parts"].values()] == [12, 12]
    backwards = collect(SAMPLES[::-1], CONFIG.thresholds)
    again = estimate.nested_estimate(backwards, one, CONFIG)
    for half, part in nested["parts"].items():
        assert again["parts"][half]["decision"] == part["decision"]
        assert again["parts"][half]["scores"] == pytest.approx(part["scores"])


def test_a_single_image_has_no_nested_estimate() -> None:
    assert estimate.nested_estimate(collect(SAMPLES[:1], CONFIG.thresholds), FOLDS, CONFIG) is None
    two = estimate.nested_estimate(collect(SAMPLES[:2], CONFIG.thresholds), dict.fromkeys(FOLDS, 0), CONFIG)
    assert [part["images"] for part in two["parts"].values()] == [1, 1]


def test_halves_of_one_fold_never_cut_a_group_and_a_single_group_has_none() -> None:
    one, groups = dict.fromkeys(FOLDS, 0), {sample.id: str(row // 5) for row, sample in enumerate(SAMPLES)}
    nested = estimate.nested_estimate(STATISTICS, one, CONFIG, groups)
    halves = [
        [sample for row, sample in enumerate(SAMPLES) if (row // 5 in members)]
        for members in split_by_size(groups, nested["parts"]["0"]["images"])
    ]
    counts = []
    for own, rest in (halves, halves[::-1]):
        decision = choose(collect(rest, CONFIG.thresholds), CONFIG, groups).decision
        counts += [counts_by_force(sample, decision) for sample in own]
    assert nested["scores"] == pytest.approx(summarise(np.array(counts)))
    alike = estimate.cross_chosen(STATISTICS, one, CONFIG, dict.fromkeys(FOLDS, "g"))
    assert alike.to_json() is None
    content = estimate.scores_json(STATISTICS, one, DECISION, CONFIG, alike)
    assert content["nested"] is None
    assert content["nested_reason"] == "all images belong to one group, so they have no halves"


def split_by_size(groups: dict[str, str], images: int) -> tuple[set[int], set[int]]:
    """The groups of the first half and of the second, found by trying: five groups, the last one of four images."""
    clusters = clusters_of(STATISTICS.ids, groups)
    halves = balanced_halves(STATISTICS.ids, clusters)
    first = {row // 5 for row in range(24) if halves[row] == 0}
    second = {row // 5 for row in range(24) if halves[row] == 1}
    assert not first & second
    assert sorted([images, 24 - images]) == [10, 14], "as equal as five groups allow"
    return first, second


def test_an_image_without_a_group_is_named() -> None:
    with pytest.raises(RunError, match="says nothing of 23 images, such as '0001'"):
        estimate.nested_estimate(STATISTICS, FOLDS, CONFIG, {"0000": "g"})


def test_the_nested_table_holds_each_image_at_the_decision_tuned_on_the_other_folds() -> None:
    table = estimate.nested_table(STATISTICS, FOLDS, CONFIG).set_index("id")
    for sample in SAMPLES:
        others = np.array([FOLDS[name] != FOLDS[sample.id] for name in STATISTICS.ids])
        decision = choose(STATISTICS.take(others), CONFIG).decision
        assert table["iou"][sample.id] == pytest.approx(scores_by_force([sample], decision)["iou_image"])
    found = estimate.nested_estimate(STATISTICS, FOLDS, CONFIG)
    assert found is not None
    assert table["precision_tgs"].mean() == pytest.approx(found["scores"]["precision_tgs"])


def test_a_single_image_is_scored_at_the_neutral_decision() -> None:
    one = collect(SAMPLES[1:2], CONFIG.thresholds)
    table = estimate.nested_table(one, FOLDS, CONFIG)
    assert table["iou"].tolist() == [pytest.approx(scores_by_force(SAMPLES[1:2], NEUTRAL)["iou_image"])]
