"""What the page of an ensemble says of its members: what each is worth, what their mean gains, how alike they err."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.special import expit, logit

from saltern.files import read_as
from saltern.inference.predictions import SUREST
from saltern.report.figures import INK, color, drawing
from saltern.runs import RunDir
from saltern.runs.seals import EnsembleSeal

WAYS = {"probs": "mean of probabilities", "logits": "mean of logits", "vote": "vote of the masks"}
"""`how` → words."""


@dataclass(frozen=True)
class Member:
    """A line of the table."""

    name: str
    weight: str
    """Of images that are new."""
    range: str
    """Over the parts, where weights were fitted; empty where they are the same for all."""
    alone: str
    """Nested score of the run alone."""
    correlation: list[str]
    """Of its errors with those of each member."""


@dataclass(frozen=True)
class Chapter:
    """The section of the page."""

    score: str
    members: list[Member]
    sentences: list[str]
    figures: list[Markup]

    @property
    def ranges(self) -> bool:
        """Whether any member weighs more in one part than in another."""
        return any(member.range for member in self.members)


def blend_chapter(run: RunDir) -> Chapter | None:
    """None for a run that is no ensemble, or one that an earlier version averaged, which did not ask.

    Raises:
        RunError: its `ensemble.json` is damaged.
    """
    if not run.ensemble.exists():
        return None
    seal = read_as(run.ensemble, EnsembleSeal)
    if seal.nested is None:
        return None
    nested, score = seal.nested, str(seal.nested["tuned_for"])
    figures = [Markup(curve_figure(seal.curve, nested["scores"][score], score))]
    if seal.calibration:
        figures.append(Markup(maps_figure(seal.runs, seal.calibration)))
    return Chapter(score, _members(seal, nested), [*_worth(seal, nested, score), *_made(seal, nested)], figures)


def _members(seal: EnsembleSeal, nested: dict[str, Any]) -> list[Member]:
    total = sum(seal.weights)
    parts = np.array([np.array(part["weights"]) / sum(part["weights"]) for part in nested["parts"].values()])
    rows = []
    for place, name in enumerate(seal.runs):
        low, high = parts[:, place].min(), parts[:, place].max()
        rows.append(
            Member(
                name=name,
                weight=f"{seal.weights[place] / total:.2f}",
                range=f"{low:.2f} to {high:.2f}" if high - low > 1e-9 else "",
                alone=f"{nested['singles'][name]:.4f}",
                correlation=["—" if value is None else f"{value:.2f}" for value in seal.correlation[place]],
            )
        )
    return rows


def _worth(seal: EnsembleSeal, nested: dict[str, Any], score: str) -> list[str]:
    gain, value = seal.gain or {}, nested["scores"][score]
    parts = "halves" if nested["by"] == "half" else "folds"
    said = [
        f"On images of {parts} that nothing of it was fitted on the mean scores {value:.4f} {score} (nested): weights, "
        "maps and decision come from the others."
    ]
    if gain.get("low") is not None:
        said.append(
            f"That is {gain['mean']:+.4f} over {gain['over']}, the best single run (95 % interval {gain['low']:+.4f} "
            f"to {gain['high']:+.4f}, over new images and new trainings)"
            + ("." if gain["low"] > 0 or gain["high"] < 0 else ": it cannot be told apart from no gain.")
        )
    elif gain:
        said.append(f"That is {gain['mean']:+.4f} over {gain['over']}, the best single run; how sure, cannot be said.")
    if seal.asked.get("weights") == "fitted":
        said.append(
            f"Weights are the best of {nested['candidates']} candidates; equal ones score {nested['equal']:.4f} nested."
        )
    return said


def _made(seal: EnsembleSeal, nested: dict[str, Any]) -> list[str]:
    said = [f"How: {WAYS.get(seal.how, seal.how)}."]
    if seal.asked.get("calibrate") == "auto":
        used = (
            "Maps of the logits are used" if seal.calibration else "Maps of the logits score no higher and are left out"
        )
        said.append(f"{used}; without any the nested score is {nested['uncalibrated']:.4f}.")
    said.append(
        "Correlation is that of the errors p - y, pixel by pixel: the less two runs err alike, the more their mean "
        "helps. The order of the curve is chosen by the scores it shows, so its highest point flatters a little."
    )
    return said


def curve_figure(curve: Sequence[dict[str, Any]], taken: float, score: str) -> str:
    """Members, the best single run first, → nested score; the mean that was taken as a line."""
    with drawing("Members, one more each time") as canvas:
        axes = canvas.axes
        axes.axhline(taken, color=color(1), linewidth=1.2, linestyle=(0, (4, 3)), label="the mean that is taken")
        places = range(len(curve))
        axes.plot(
            places, [point["score"] for point in curve], "o-", color=color(0), markeredgecolor=INK, label="nested"
        )
        names = [point["added"] if place == 0 else f"+ {point['added']}" for place, point in enumerate(curve)]
        turned = len(curve) > 4 or max(map(len, names)) > 12
        axes.set_xticks(places, names, rotation=30 if turned else 0, ha="right" if turned else "center")
        axes.set_xlim(-0.4, len(curve) - 0.6)
        axes.margins(y=0.2)
        axes.set_ylabel(score)
        canvas.figure.legend(loc="outside lower center", ncols=2)
    return canvas.svg


def maps_figure(runs: Sequence[str], maps: Sequence[dict[str, float] | None]) -> str:
    """What each run's probabilities become before they are averaged."""
    probs = np.linspace(SUREST, 1 - SUREST, 201)
    with drawing("Probabilities before and after the maps") as canvas:
        axes = canvas.axes
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (1, 3)))
        for place, (run, platt) in enumerate(zip(runs, maps, strict=True)):
            after = probs if platt is None else expit(platt["slope"] * logit(probs) + platt["offset"])
            axes.plot(probs, after, color=color(place), label=run, linewidth=1.8)
        axes.set_xlabel("stored")
        axes.set_ylabel("in the mean")
        canvas.figure.legend(loc="outside lower center", ncols=3)
    return canvas.svg
