"""From the score that flatters most to the one that a leaderboard will show, a sentence for each step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from saltern.inference.forecast import ASSUMPTIONS


@dataclass(frozen=True)
class Step:
    """A row of the table."""

    label: str
    value: str
    """The score, or what stands in its place."""
    text: str
    total: bool = False
    """Whether it is what all the others lead to."""


def steps_of(scores: Mapping[str, Any]) -> list[Step]:
    """At 0.5, tuned, nested, less selection, forecast, in the score that was tuned for.

    Args:
        scores: `scores.json`, as from `read_scores`; where an earlier version wrote it, the last two are left out.
    """
    name, pooled = scores["tuned_for"], scores["pooled"]
    steps = [
        Step("at 0.5", _number(pooled["at_0.5"][name]), "Out of fold, with nothing tuned."),
        Step("tuned", _number(pooled["at_decision"][name]), "At the decision, which was tuned on these very images."),
        Step("nested estimate", *_nested(scores)),
    ]
    if scores.get("optimism") is None:
        return steps
    return [*steps, Step("less selection", *_estimate(scores)), *_forecasts(scores)]


def neutral_text(scores: Mapping[str, Any]) -> str:
    """That the decision stays at 0.5, and why; empty where it was tuned."""
    tuning = scores.get("tuning")
    if not scores.get("kept_neutral") or tuning is None:
        return ""
    error = tuning["standard_error"]
    doubt = (
        "whose standard error cannot be said" if error is None else f"not more than its standard error of {error:.4f}"
    )
    return (
        f"The decision stays neutral: the best of the grid gains {tuning['gain']:+.4f} on the images it was tuned on, "
        f"{doubt}, and on other images such a gain is mostly luck."
    )


def assumptions_of(scores: Mapping[str, Any]) -> str:
    """What the forecast takes for granted, in a sentence; empty where there is none."""
    return "" if scores.get("forecast") is None else f"The forecast takes for granted: {'; '.join(ASSUMPTIONS)}."


def belief_lines(scores: Mapping[str, Any], *, doubted: bool = False) -> list[str]:
    """The same for the console: which score to trust, and what a leaderboard will show.

    `doubted`: something was said before that speaks against all of them.
    """
    word = "see above" if doubted else "trust this one"
    found = scores.get("optimism")
    if found is None:
        return [f"nested: tuned without the images it is scored on; {word}"]
    lines = ["nested: tuned without the images it is scored on"]
    if scores["nested"] is None:
        lines = [f"nested, estimate: none, since {_no_nested(scores)}"]
    if scores.get("estimate") is not None:
        taken = f"nested less {found['selection'] or 0:.4f}, what choosing the best epoch gained by looking"
        unknown = f"as nested, with nothing taken off for choosing the epoch: {found.get('selection_note')}"
        why = unknown if found["selection"] is None else taken
        lines.append(f"estimate: {scores['estimate']:.4f} {scores['tuned_for']}, {why}; {word}")
    return [*lines, *filter(None, [neutral_text(scores)]), _forecast_line(scores)]


def trusted(scores: Mapping[str, Any]) -> tuple[float, str]:
    """The score to trust most, and what it is: `less selection`, `nested` (an earlier version's), or only `tuned`."""
    name, nested = scores["tuned_for"], scores["nested"]
    if scores.get("estimate") is not None:
        return scores["estimate"], "less selection"
    if nested is not None:
        return nested["scores"][name], "nested"
    return scores["pooled"]["at_decision"][name], "tuned"


def believed_line(scores: Mapping[str, Any], *, doubted: bool = False) -> str:
    """The one number to believe, with the range that a leaderboard will show, or why there is none.

    `doubted`: something speaks against it, which is said elsewhere.
    """
    name, found = scores["tuned_for"], scores.get("forecast")
    number, kind = trusted(scores)
    if kind == "tuned":
        reason, tuned = _no_nested(scores), _number(number)
        return f"no {name} to believe: there is no nested estimate ({reason}); the tuned score of {tuned} flatters"
    range_ = "no forecast" if found is None else f"{_range(found)} on {found['images']:,} test images (95 %)"
    return f"{_number(number)} {name}; {range_}{'; doubted, see the warnings' if doubted else ''}"


def _forecast_line(scores: Mapping[str, Any]) -> str:
    found = scores.get("forecast")
    if found is None:
        return f"forecast: none, since {_no_forecast(scores)}"
    public = found.get("public")
    more = "" if public is None else f"; {_range(public)} on {public['images']:,} public ones"
    again = f"; {_range(found['again'])} if it were trained again" if found.get("again") else ""
    return f"forecast: {_range(found)} on {found['images']:,} test images{more} (95 %){again}"


def _nested(scores: Mapping[str, Any]) -> tuple[str, str]:
    nested, name = scores["nested"], scores["tuned_for"]
    if nested is None:
        return "-", f"There is no nested estimate: {_no_nested(scores)}."
    gap = scores["pooled"]["at_decision"][name] - nested["scores"][name]
    parts = "half of the images (there is one fold)" if nested["by"] == "half" else "fold"
    verdict = (
        f"{gap:.4f} below the tuned score: so much is owed to tuning on the same images"
        if gap > 0
        else "not below the tuned score: tuning on the same images gave no advantage"
    )
    return _number(nested["scores"][name]), f"Each {parts} is scored at a decision tuned without it; {verdict}."


def _no_nested(scores: Mapping[str, Any]) -> str:
    return str(scores.get("nested_reason") or "a single image leaves nothing to tune on")


def _estimate(scores: Mapping[str, Any]) -> tuple[str, str]:
    found = scores["optimism"]
    if scores.get("estimate") is None:
        return "-", "There is no nested estimate to take anything off."
    if found["selection"] is None:
        return _number(scores["estimate"]), f"Nothing is taken off: {found.get('selection_note')}."
    text = (
        f"{found['selection']:.4f} less than nested: so much choosing the best epoch gained by looking at the images "
        "that it is scored on. Chosen on one half of them and scored on the other, it has that much less."
    )
    return _number(scores["estimate"]), text if found["selection"] else "Choosing an epoch gained nothing."


def _forecasts(scores: Mapping[str, Any]) -> list[Step]:
    found = scores.get("forecast")
    if found is None:
        return [Step("forecast", "-", f"There is no forecast: {_no_forecast(scores)}.", total=True)]
    text = f"Where the score of {found['images']:,} test images will lie, 19 times out of 20.{_again(found)}"
    steps = [Step("forecast", _range(found), text, total=True)]
    public = found.get("public")
    if public is not None:
        text = (
            f"The same for a public part of {public['images']:,} images: fewer of them, so more chance.{_again(public)}"
        )
        steps.append(Step("forecast, public", _range(public), text, total=True))
    return steps


def _again(part: Mapping[str, Any]) -> str:
    return f" If the recipe were trained again: {_range(part['again'])}." if part.get("again") else ""


def _no_forecast(scores: Mapping[str, Any]) -> str:
    return str(scores.get("forecast_reason") or "none was made")


def _range(part: Mapping[str, Any]) -> str:
    return f"{_number(part['low'])} to {_number(part['high'])}"


def _number(score: float) -> str:
    return f"{score:.4f}"
