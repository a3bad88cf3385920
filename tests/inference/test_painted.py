"""What a decision paints: masks by force, large ones that gates take by hand, false alarms by drawing."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from saltern.inference.decide import Decision, decide
from saltern.inference.painted import Painted, paint, resemblance
from saltern.inference.predictions import Prediction


def drawn(values: np.ndarray, decision: Decision) -> Painted:
    """Images of which the given share is painted."""
    return Painted(decision, {str(number): float(value) for number, value in enumerate(values)})


def test_masks_are_those_of_the_decision_and_their_shares_are_noted() -> None:
    random = np.random.default_rng(0)
    decision = Decision(0.4, 6, 0.9)
    images = [(str(number), Prediction(random.random((8, 9)) * random.random(), None)) for number in range(40)]
    painted = paint(iter(images), decision)
    expected = {name: decide(said.probs, decision).mean() for name, said in images}
    assert painted.foreground == pytest.approx(expected)
    assert painted.values("empty").tolist() == [float(share == 0) for share in expected.values()]
    assert 0 < painted.values("empty").sum() < 40


def test_a_large_mask_that_a_gate_took_is_told_and_a_small_or_kept_one_is_not() -> None:
    half, few = np.zeros((10, 10), np.float16), np.zeros((10, 10), np.float16)
    half[:5], few[0, :9] = 0.7, 0.7
    sure = np.where(half > 0, np.float16(0.95), half)
    images = [("half", half, 0.9), ("few", few, 0.9), ("sure", sure, 0.9), ("absent", sure, 0.1)]
    painted = paint(
        ((name, Prediction(probs, presence)) for name, probs, presence in images), Decision(0.5, 0, 0.8, 0.2)
    )
    assert painted.taken == {"half": 0.5, "absent": 0.5}
    assert painted.foreground == {"half": 0.0, "few": 0.0, "sure": 0.5, "absent": 0.0}
    by_area = paint([("half", Prediction(half, None))], Decision(0.5, 51, 0.0))
    assert not by_area.taken, "the minimum area is no gate"


def test_without_groups_the_chance_is_that_of_the_t_test() -> None:
    random = np.random.default_rng(1)
    oof, test = random.random(60) * (random.random(60) < 0.6), random.random(45) * (random.random(45) < 0.3)
    found = resemblance(drawn(oof, Decision()), drawn(test, Decision()))
    assert found["foreground"]["chance"] == pytest.approx(ttest_ind(oof, test).pvalue)
    assert found["empty"]["chance"] == pytest.approx(ttest_ind(oof == 0, test == 0).pvalue)
    assert found["empty"]["differs"] == (found["empty"]["chance"] < 0.01)
    assert found["images"] == {"oof": 60, "test": 45}


@pytest.mark.parametrize("size", [1, 10])
def test_equal_sets_are_told_apart_in_about_one_of_a_hundred_also_where_images_belong_together(size: int) -> None:
    """With ten look-alikes a group, a test that counts each image for itself is wrong in a fourth of the draws."""
    random, alarms, naive, draws = np.random.default_rng(size), 0, 0, 400

    def images(count: int) -> np.ndarray:
        shared = np.repeat(random.random(count // size), size)
        return np.where(shared < 0.4, 0.0, shared * random.random(count))

    groups = {str(number): f"g{number // size}" for number in range(300)}
    for _ in range(draws):
        oof, test = images(300), images(200)
        found = resemblance(drawn(oof, Decision()), drawn(test, Decision()), groups)
        alarms += found["empty"]["differs"]
        naive += bool(ttest_ind(oof == 0, test == 0).pvalue < 0.01)
    assert alarms / draws < 0.03
    assert (naive / draws > 0.2) == (size > 1)


def test_a_test_that_is_emptied_more_often_is_told() -> None:
    random = np.random.default_rng(3)
    oof, test = (np.where(random.random(400) < share, 0.0, 0.3) for share in (0.38, 0.5))
    assert resemblance(drawn(oof, Decision()), drawn(test, Decision()))["empty"]["differs"]


def test_where_nothing_varies_or_can_be_said_there_is_no_alarm_by_accident() -> None:
    full, none, one = np.full(20, 0.4), np.zeros(20), np.full(1, 0.4)
    same = resemblance(drawn(none, Decision()), drawn(none, Decision()))
    assert (same["empty"]["chance"], same["empty"]["differs"]) == (1.0, False)
    apart = resemblance(drawn(full, Decision()), drawn(none, Decision()))
    assert apart["empty"] == {"oof": 0.0, "test": 1.0, "chance": 0.0, "differs": True}
    for oof, test, groups in (
        (full, one, None),
        (one, full, None),
        (full, none, dict.fromkeys(map(str, range(20)), "g")),
    ):
        found = resemblance(drawn(oof, Decision()), drawn(test, Decision()), groups)
        assert (found["foreground"]["chance"], found["foreground"]["differs"]) == (None, False)
