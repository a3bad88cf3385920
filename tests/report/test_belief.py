"""From the score that flatters most to the forecast: every step has its number and an honest sentence."""

from typing import Any

import pytest

from saltern.report.belief import assumptions_of, belief_lines, neutral_text, steps_of

NAMES = ("precision_tgs", "iou_image", "iou_dataset", "dice_image")
DECISION = {"threshold": 0.4, "min_area": 0, "empty_gate": None}
EARLIER: dict[str, Any] = {
    "tuned_for": "precision_tgs",
    "pooled": {"images": 640, "at_0.5": dict.fromkeys(NAMES, 0.8), "at_decision": dict.fromkeys(NAMES, 0.82)},
    "nested": {"by": "half", "scores": dict.fromkeys(NAMES, 0.815)},
}
WHOLE: dict[str, Any] = {
    **EARLIER,
    "kept_neutral": False,
    "tuning": {"gain": 0.02, "standard_error": 0.004, "decision": DECISION},
    "optimism": {"tuning": 0.005, "selection": 0.006},
    "estimate": 0.809,
    "forecast": {"score": 0.809, "low": 0.772, "high": 0.846, "images": 18000},
}


def test_every_step_in_its_order_with_what_it_takes_off() -> None:
    steps = {step.label: step for step in steps_of(WHOLE)}
    assert [step.value for step in steps.values()] == ["0.8000", "0.8200", "0.8150", "0.8090", "0.7720 to 0.8460"]
    assert "0.0050 below the tuned score" in steps["nested estimate"].text
    assert "0.0060 less than nested" in steps["less selection"].text
    assert "18,000 test images" in steps["forecast"].text
    assert steps["forecast"].total
    assert "come from where the labelled ones come from" in assumptions_of(WHOLE)
    lines = belief_lines(WHOLE)
    assert any(
        "estimate: 0.8090 precision_tgs, nested less 0.0060" in line and "trust this one" in line for line in lines
    )
    assert lines[-1] == "forecast: 0.7720 to 0.8460 on 18,000 test images (95 %)"


def test_a_public_part_has_a_row_of_its_own() -> None:
    public = {"score": 0.809, "low": 0.75, "high": 0.86, "images": 300}
    scores = {**WHOLE, "forecast": {**WHOLE["forecast"], "public": public}}
    assert [step.value for step in steps_of(scores)][-1] == "0.7500 to 0.8600"
    assert belief_lines(scores)[-1].endswith("test images; 0.7500 to 0.8600 on 300 public ones (95 %)")


def test_what_is_not_known_is_said_and_not_taken_off() -> None:
    scores = {**WHOLE, "optimism": {"tuning": 0.005, "selection": None, "selection_note": "WHY"}, "estimate": 0.815}
    assert {step.label: step.text for step in steps_of(scores)}["less selection"] == "Nothing is taken off: WHY."
    assert any("nothing taken off for choosing the epoch: WHY" in line for line in belief_lines(scores))
    none = {
        **WHOLE,
        "nested": None,
        "nested_reason": "GROUP",
        "estimate": None,
        "forecast": None,
        "forecast_reason": "GROUP",
    }
    texts = [step.text for step in steps_of(none)]
    assert "There is no nested estimate: GROUP." in texts
    assert texts[-1] == "There is no forecast: GROUP."
    assert assumptions_of(none) == ""
    assert belief_lines(none) == ["nested, estimate: none, since GROUP", "forecast: none, since GROUP"]


def test_scores_of_an_earlier_version_have_the_steps_that_they_know() -> None:
    assert [step.label for step in steps_of(EARLIER)] == ["at 0.5", "tuned", "nested estimate"]
    assert belief_lines(EARLIER) == ["nested: tuned without the images it is scored on; trust this one"]
    assert neutral_text(EARLIER) == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [(0.03, "not more than its standard error of 0.0300"), (None, "whose standard error cannot be said")],
)
def test_a_decision_that_stays_neutral_says_why(error: float | None, said: str) -> None:
    scores = {**WHOLE, "kept_neutral": True, "tuning": {"gain": 0.02, "standard_error": error, "decision": DECISION}}
    assert "The decision stays neutral: the best of the grid gains +0.0200" in neutral_text(scores)
    assert said in neutral_text(scores)
    assert neutral_text(scores) in belief_lines(scores)
    assert neutral_text(WHOLE) == ""


def test_a_forecast_says_how_far_another_training_may_go_and_an_older_one_does_not() -> None:
    again = {"low": 0.761, "high": 0.853}
    scores = {**WHOLE, "forecast": {**WHOLE["forecast"], "again": again}}
    assert {step.label: step for step in steps_of(scores)}["forecast"].text.endswith("again: 0.7610 to 0.8530.")
    assert belief_lines(scores)[-1].endswith("(95 %); 0.7610 to 0.8530 if it were trained again")
    assert "again" not in belief_lines(WHOLE)[-1]
