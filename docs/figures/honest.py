"""The figures of `docs/honesty.md`, drawn from the competitions of `benchmarks/honesty.py`; `draw.py` calls them."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from honesty import MEAN, TEST, Competition, Setting, families, rates

from saltern.inference.forecast import Evidence, forecast
from saltern.metrics.noise import Retrain, mean_interval

GOOD, BAD, PLAIN = "#2b8cbe", "#e34a33", "#808080"
"""Colours that show on white and on black."""
COUNT = 1000
"""Competitions behind a rate."""
DRAWN = 40
"""Intervals that are drawn one by one."""


def retrain() -> plt.Figure:
    """False alarms between two trainings of one recipe, by the images alone and by the noise model."""
    sizes = (134, 400, 1200)
    found = [rates(Setting(images), COUNT) for images in sizes]
    figure, panel = _panel()
    _bars(panel, [f"{images:,}" for images in sizes], {
        "the images alone": ([one["images alone"] for one in found], BAD),
        "with the chance of training": ([one["false alarm"] for one in found], GOOD),
    })  # fmt: skip
    _alarms(panel, "Two trainings of one recipe called different", "validation images, one fold")
    return figure


def groups() -> plt.Figure:
    """The same for images that belong together."""
    sizes = {60: 3.0, 134: 4.0, 400: 8.0, 1200: 15.0}
    found = [rates(Setting(images, group, 5), COUNT) for images, group in sizes.items()]
    figure, panel = _panel()
    _bars(panel, [f"{images:,} by {group:g}" for images, group in sizes.items()], {
        "each image for itself": ([one["no clusters"] for one in found], BAD),
        "by groups": ([one["false alarm"] for one in found], GOOD),
    })  # fmt: skip
    _alarms(panel, "Equal recipes called different", "images, and how many make a group (five folds)")
    return figure


def lean() -> plt.Figure:
    """Intervals over 20 images, even and bent: which of them miss the true mean."""
    random, setting = np.random.default_rng(3), Setting(20)
    drawn = [Competition(setting, random).run()[0] for _ in range(COUNT)]
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), sharex=True, sharey=True, layout="constrained")
    for panel, bent in zip(panels, (False, True), strict=True):
        intervals = [mean_interval(scores, lean=bent) for scores in drawn]
        held = [one.low <= MEAN <= one.high for one in intervals]
        for row, (one, good) in enumerate(zip(intervals[:DRAWN], held[:DRAWN], strict=True)):
            panel.plot([one.low, one.high], [row, row], color=GOOD if good else BAD, lw=2)
        panel.axvline(MEAN, color=PLAIN, lw=1)
        name = "leaning" if bent else "even on both sides"
        panel.set(title=f"{name}: {100 * np.mean(held):.1f} % hold", xlabel="score", yticks=[])
    panels[0].set_ylabel(f"the first {DRAWN} of {COUNT:,} competitions")
    return figure


def many_runs() -> plt.Figure:
    """How often one of several equal runs looks different."""
    runs = (1, 3, 5, 9)
    found = [families(Setting(400), number, COUNT // 2) for number in runs]
    figure, panel = _panel()
    _bars(panel, [str(number) for number in runs], {
        "each interval for itself": ([narrow for _, narrow in found], BAD),
        "widened for their number": ([wide for wide, _ in found], GOOD),
    })  # fmt: skip
    _alarms(panel, "Pages with a false alarm", "equal runs beside the baseline, 400 images")
    panel.set_ylabel("of the pages, %")
    return figure


def tuned() -> plt.Figure:
    """What the best of many equally good decisions promises, and what the same decision gives on other images."""
    random, sizes, choices = np.random.default_rng(5), (40, 134, 640, 2000), 40
    promised, given = [], []
    for images in sizes:
        ahead, nested = [], []
        for _ in range(COUNT // 4):
            scores = Competition(Setting(images), random).images.scores()
            moved = scores + random.normal(0, 0.12, (choices, images))  # each decision lifts some images, lowers others
            half = random.permutation(images) < images // 2
            ahead.append(moved.mean(axis=1).max() - scores.mean())
            best, other = (moved[:, part].mean(axis=1).argmax() for part in (half, ~half))
            nested.append(np.concatenate([moved[best, ~half], moved[other, half]]).mean() - scores.mean())
        promised.append(np.mean(ahead))
        given.append(np.mean(nested))
    figure, panel = _panel()
    panel.plot(sizes, promised, "o-", color=BAD, label="the best of 40, on its own images")
    panel.plot(sizes, given, "s-", color=GOOD, label="nested: chosen on the other half")
    panel.axhline(0, color=PLAIN, lw=1)
    panel.set(xscale="log", xticks=sizes, xticklabels=[f"{images:,}" for images in sizes], xlabel="images")
    panel.set(title="40 decisions that are equally good", ylabel="promised above the truth")
    panel.minorticks_off()
    panel.legend(frameon=False)
    return figure


def forecasts() -> plt.Figure:
    """Forecasts of a test and what it showed."""
    random, setting = np.random.default_rng(8), Setting(640)
    figure, panel = _panel(height=3.4)
    held = 0
    for number in range(COUNT):
        competition = Competition(setting, random)
        shifts = competition.trainings()
        scores = competition.run(shifts=shifts)[0]
        said = forecast(Evidence(scores, competition.clusters, competition.folds, Retrain()), scores.mean(), TEST * 640)
        assert said is not None
        (shown, _), _ = competition.leaderboards(shifts[0])
        good = said["low"] <= shown <= said["high"]
        held += good
        if number < DRAWN:
            panel.plot([number, number], [said["low"], said["high"]], color=GOOD if good else BAD, lw=2)
            panel.plot(number, shown, "o", color=PLAIN if good else BAD, ms=4)
    panel.set(title=f"640 images forecast 1,280: {100 * held / COUNT:.1f} % hold", ylabel="score", xticks=[])
    panel.set_xlabel(f"the first {DRAWN} of {COUNT:,} competitions; dot: what the test showed")
    return figure


FIGURES = {
    "honest_retrain": retrain,
    "honest_groups": groups,
    "honest_lean": lean,
    "honest_many_runs": many_runs,
    "honest_tuned": tuned,
    "honest_forecast": forecasts,
}
"""File name → what draws it."""


def _panel(height: float = 3.0) -> tuple[plt.Figure, Axes]:
    return plt.subplots(figsize=(6.2, height), layout="constrained")


def _bars(panel: Axes, names: list[str], series: dict[str, tuple[list[float], str]]) -> None:
    """Groups of two bars, in per cent, each with its number."""
    for index, (label, (values, colour)) in enumerate(series.items()):
        at = np.arange(len(names)) + (index - 0.5) * 0.38
        bars = panel.bar(at, [100 * value for value in values], 0.36, color=colour, label=label)
        panel.bar_label(bars, fmt="%.1f", fontsize=8, color=PLAIN, padding=3)
    panel.set_xticks(np.arange(len(names)), names)
    panel.legend(frameon=False, loc="upper left")


def _alarms(panel: Axes, title: str, where: str) -> None:
    panel.axhline(5, color=PLAIN, lw=1, ls="--", zorder=0)
    panel.set(title=title, xlabel=where, ylabel="of the comparisons, %", ylim=(0, 1.25 * panel.get_ylim()[1]))
