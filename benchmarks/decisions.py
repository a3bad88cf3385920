"""A decision that was tuned on single networks, applied to the mean of five: what the remedies are worth.

Images are drawn whose truth is where a smooth field is above 0; the logits of five networks are that field with a noise
that all share and one of their own. The decision is tuned out of fold, on one network an image, and applied to as
many other images, of which the truth is known. Then the same is asked of what the gate for empty images may look at.

    python benchmarks/decisions.py            both tables, 2 redraws of 1,000 images a line
    python benchmarks/decisions.py 8 2000     8 redraws of 2,000 images, as in docs/honesty.md
    python benchmarks/decisions.py outputs/sample    the networks of a run over drawn sections, on 1,500 fresh ones
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from saltern.config.schema import InferenceConfig
from saltern.inference.decide import Decision, decide
from saltern.inference.tune import Sample, Statistics, collect, counts_at, emptied, tune
from saltern.metrics.scores import count_pixels, summarise

SIDE = 48
NETWORKS = 5
CONFIG = InferenceConfig()
SCORE = CONFIG.tune_for
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Setting:
    """A kind of data and of networks."""

    name: str
    own: float = 0.4
    """Share of the noise's variance that each network has alone."""
    noise: float = 0.35
    """In units of the field's standard deviation."""
    gain: float = 4.0
    """How sure the networks are: logits per unit of the field."""
    salt: float = 0.61
    """Share of images with foreground."""


SETTINGS = (
    Setting("plain"),
    Setting("networks differ", own=0.7, noise=0.4),
    Setting("unsure", gain=2.0),
    Setting("sure", gain=8.0),
    Setting("mostly empty", salt=0.25),
    Setting("hard", own=0.5, noise=0.7),
    Setting("sure and wrong", noise=1.0, gain=8.0),
)


class Drawn(NamedTuple):
    """Images and what networks say of them."""

    targets: NDArray[np.uint8]
    """(N, H, W)."""
    logits: Floats
    """(networks, N, H, W)."""

    @property
    def probs(self) -> Floats:
        """Of `logits`."""
        return expit(self.logits)


class Row(NamedTuple):
    """A remedy on one set of test images."""

    tuned: float
    """Score at the decision that was tuned out of fold."""
    best: float
    """Score at the best decision of these very images; NaN where there is no one decision."""
    emptied: float
    """Share of images with foreground whose mask is empty."""


def field(random: np.random.Generator, images: int, cells: int) -> Floats:
    """(images, SIDE, SIDE) smooth, of unit variance."""
    away = (np.arange(SIDE) + 0.5)[:, None] / SIDE * (cells - 1) - np.arange(cells)
    basis = np.exp(-(away**2) / 0.72).astype(np.float32)
    basis /= np.sqrt((basis**2).sum(axis=1, keepdims=True))
    return basis @ random.normal(size=(images, cells, cells)).astype(np.float32) @ basis.T


def draw(setting: Setting, random: np.random.Generator, images: int, networks: int) -> Drawn:
    """Fresh images; in an empty one the field stays below 0."""

    def noise() -> Floats:
        whole = random.normal(size=(images, 1, 1)).astype(np.float32)
        return np.sqrt(0.6) * field(random, images, 5) + np.sqrt(0.4) * whole

    truth = field(random, images, 4)
    height = truth.reshape(images, -1).max(axis=1)
    below, above = height - random.gamma(1.2, 1.2, images) - 0.05, height + 0.3 + random.gamma(1.5, 0.8, images)
    truth -= np.where(random.random(images) < setting.salt, below, above).astype(np.float32)[:, None, None]
    shared = np.sqrt(1 - setting.own) * noise()
    said = [truth + setting.noise * (shared + np.sqrt(setting.own) * noise()) for _ in range(networks)]
    return Drawn((truth > 0).astype(np.uint8), (setting.gain * np.stack(said)).clip(-12, 12).astype(np.float32))


def statistics(targets: NDArray[np.uint8], probs: Floats, levels: tuple[float, ...] = ()) -> Statistics:
    """Of all images, at the candidates of the config and at `levels`."""
    samples = (Sample(str(number), *pair) for number, pair in enumerate(zip(probs, targets, strict=True)))
    return collect(samples, [*CONFIG.thresholds, *levels])


def judged(found: Statistics, decision: Decision) -> Row:
    """One decision on some statistics."""
    gone = counts_at(found, decision)[:, :2].sum(axis=1) == 0
    return Row(
        summarise(counts_at(found, decision))[SCORE], tune(found, CONFIG).score, float(gone[found.truth > 0].mean())
    )


def peaks(probs: Floats) -> Floats:
    """(…, N) of (…, N, H, W)."""
    return probs.max(axis=(-2, -1))


def by_logits(probs: Floats) -> Floats:
    """The mean over networks as `inference.mean=logits` takes it."""
    return expit(logit(probs.clip(1e-4, 1 - 1e-4)).mean(axis=0))


def by_vote(test: Drawn, probs: Floats, decision: Decision) -> Row:
    """Each network's masks at the decision; what most of them say."""
    votes = np.stack([[decide(image, decision) for image in each] for each in probs]).sum(axis=0)
    masks = (votes > len(probs) / 2).astype(np.uint8)
    counts = np.array([count_pixels(mask, target) for mask, target in zip(masks, test.targets, strict=True)])
    salt = test.targets.any(axis=(1, 2))
    return Row(summarise(counts)[SCORE], float("nan"), float(1 - masks[salt].any(axis=(1, 2)).mean()))


def matched(values: Floats, single: Floats) -> Floats:
    """`values` with the distribution of `single`, by their ranks: what a single network would have said."""
    shares = np.linspace(0, 1, 4001)
    return np.interp(values, np.quantile(values, shares), np.quantile(single, shares)).astype(np.float32)


def expected(single: Floats, mean: Floats) -> Callable[[Floats], Floats]:
    """The mean's value that is to be expected where one network says so, from the test images, without their truth."""
    bins = (single.ravel() * 99.999).astype(int)
    sums = np.bincount(bins, np.broadcast_to(mean, single.shape).ravel(), 100)
    curve = sums / np.maximum(np.bincount(bins, minlength=100), 1)
    return lambda probs: np.interp(probs, (np.arange(100) + 0.5) / 100, curve).astype(np.float32)


def remedies(oof: Drawn, test: Drawn) -> dict[str, Row]:
    """Each remedy's row; `oof` holds three networks an image, of which only the repeats look at more than one."""
    first, probs = oof.probs, test.probs
    decision = tune(statistics(oof.targets, first[0]), CONFIG).decision
    plain, logits = probs.mean(axis=0), by_logits(probs)
    of_mean, of_logits = statistics(test.targets, plain), statistics(test.targets, logits)
    ranked = replace(statistics(test.targets, matched(plain, probs)), peak=matched(peaks(plain), peaks(probs)))
    rows = {
        "mean of probabilities": judged(of_mean, decision),
        "mean of logits": judged(of_logits, decision),
        "vote of the masks": by_vote(test, probs, decision),
        "median of probabilities": judged(statistics(test.targets, np.median(probs, axis=0)), decision),
        "mean, gate on the mean of the peaks": judged(replace(of_mean, peak=peaks(probs).mean(axis=0)), decision),
        "logits, gate on the mean of the peaks": judged(replace(of_logits, peak=peaks(probs).mean(axis=0)), decision),
        "mean, matched quantiles": judged(ranked, decision),
    }
    simulated = tune(statistics(oof.targets, expected(probs, plain)(first[0])), CONFIG).decision
    rows["mean, tuned on simulated means"] = judged(of_mean, simulated)
    for repeats in (2, 3):
        for name, mean, found in (("mean", lambda p: p.mean(axis=0), of_mean), ("logits", by_logits, of_logits)):
            several = tune(statistics(oof.targets, mean(first[:repeats])), CONFIG).decision
            rows[f"{name}, folds repeated {repeats} times"] = judged(found, several)
    return rows


GATES: dict[str, Callable[[Floats], Floats]] = {
    "the peak": lambda ranked: ranked[:, 0],
    "1 % quantile": lambda ranked: ranked[:, ranked.shape[1] // 100],
    "mean of 20 highest": lambda ranked: ranked[:, :20].mean(axis=1),
    "mean of 100 highest": lambda ranked: ranked[:, :100].mean(axis=1),
    "sum above 0.5": lambda ranked: np.where(ranked > 0.5, ranked, 0).mean(axis=1),
    "sum of 2p - 1 above 0.5": lambda ranked: np.where(ranked > 0.5, 2 * ranked - 1, 0).mean(axis=1),
    "no gate": lambda ranked: np.ones(len(ranked)),
}
"""What a gate may look at: (N, pixels) sorted downwards → (N,), in [0, 1]."""


def gates(
    targets: NDArray[np.uint8], single: Floats, others: NDArray[np.uint8], mean: Floats
) -> dict[str, tuple[float, int]]:
    """Statistic → score on the `others`, and how many of those with over 30 % foreground it empties there.

    Each has 30 candidates, quantiles of its own out of fold, so that none is favoured by its grid.
    """
    tuned_on, applied_to = statistics(targets, single), statistics(others, mean)
    ranks = [np.sort(probs.reshape(len(probs), -1))[:, ::-1] for probs in (single, mean)]
    large = applied_to.truth > 0.3 * others[0].size
    found = {}
    for name, of in GATES.items():
        known, new = (of(ranked).astype(np.float32) for ranked in ranks)
        grid = np.unique([0.0, *np.quantile(known, np.linspace(0.1, 0.8, 29))]).clip(0, 0.9999)
        config = replace(CONFIG, empty_gates=[float(value) for value in grid] if name != "no gate" else [0.0])
        decision = tune(replace(tuned_on, peak=known), config).decision
        there = replace(applied_to, peak=new)
        lost = int((emptied(there, decision) & large).sum())
        found[name] = (summarise(counts_at(there, decision))[SCORE], lost)
    return found


def trained(run: Path, images: int, side: int, seed: int) -> Drawn:
    """What the folds' networks of a `run` over drawn sections say, one view each, of fresh ones."""
    from saltern.inference.members import Images, Members
    from saltern.job import Job

    job = Job.reopen(str(run.parent), run.name)
    with tempfile.TemporaryDirectory() as folder:
        fresh = replace(job.config.dataset, root=folder, train=images, test=2, side=side, seed=seed)
        job = Job(replace(job.config, dataset=fresh))
        rows, source = list(range(images)), job.material.labelled
        targets = np.stack([job.material.truth_of(sample.id) for sample in source.samples])
        said = []
        for number in run.glob("fold_[0-9]"):
            one = Members(job.runtime, job.config, [number / "best.safetensors"])
            batches = Images(job.material, source, rows, job.loading).batches(one.stride)
            found = dict(one.predictions(rows, batches, job.progress))
            said.append(np.stack([found[row].probs for row in rows]))
    return Drawn(targets.astype(np.uint8), logit(np.stack(said).clip(1e-6, 1 - 1e-6)).astype(np.float32))


def table(title: str, found: list[dict[str, Row]]) -> None:
    """A row a remedy: means over redraws, and the difference to the mean of probabilities, redraw by redraw."""
    print(
        f"\n**{title}**\n\n| remedy | tuned | own best | foreground emptied | less the mean of probabilities | worst |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for name in found[0]:
        rows = np.array([redraw[name] for redraw in found])
        change = rows[:, 0] - [redraw["mean of probabilities"].tuned for redraw in found]
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else float("nan")
        best = "" if np.isnan(rows[:, 1]).any() else f"{rows[:, 1].mean():.4f}"
        print(f"| {name} | {rows[:, 0].mean():.4f} | {best} | {100 * rows[:, 2].mean():.1f} % "
              f"| {change.mean():+.4f} ± {error:.4f} | {change.min():+.4f} |", flush=True)  # fmt: skip


def gate_table(title: str, found: list[dict[str, tuple[float, int]]]) -> None:
    """A row a statistic: score, its difference to that of the peak, large images lost."""
    print(f"\n**Gates, {title}**\n\n| the gate looks at | tuned | less the peak | over 30 % foreground, emptied |")
    print("|---|---:|---:|---:|")
    for name in found[0]:
        scores = np.array([redraw[name][0] for redraw in found])
        change = scores - [redraw["the peak"][0] for redraw in found]
        lost = np.mean([redraw[name][1] for redraw in found])
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else float("nan")
        print(f"| {name} | {scores.mean():.4f} | {change.mean():+.4f} ± {error:.4f} | {lost:.1f} |", flush=True)


def judge_run(run: Path) -> None:
    """The trained networks: tuned on one of them over 750 fresh images, applied to 750 others; three turns."""
    every = trained(run, 1500, 64, seed=77)
    rows, looked = [], []
    for turn in range(len(every.logits)):
        random = np.random.default_rng(turn)
        half = random.permutation(len(every.targets)) < len(every.targets) // 2
        order = np.roll(np.arange(len(every.logits)), turn)
        oof, test = (Drawn(every.targets[part], every.logits[:, part][order]) for part in (half, ~half))
        rows.append(remedies(oof, test))
        looked.append(gates(oof.targets, oof.probs[0], test.targets, by_logits(test.probs)))
    table(f"{len(every.logits)} trained networks on fresh drawn sections", rows)
    gate_table("the same networks", looked)


def main() -> None:
    """Print the tables as markdown."""
    began, given = time.monotonic(), sys.argv[1:]
    if given and not given[0].isdecimal():
        judge_run(Path(given[0]))
        return
    redraws, images = (int(given[place]) if len(given) > place else usual for place, usual in ((0, 2), (1, 1000)))
    for setting in SETTINGS:
        rows, looked = [], []
        for seed in range(redraws):
            random = np.random.default_rng([seed, 12])
            oof, test = draw(setting, random, images, 3), draw(setting, random, images, NETWORKS)
            rows.append(remedies(oof, test))
            looked.append(gates(oof.targets, oof.probs[0], test.targets, by_logits(test.probs)))
        table(setting.name, rows)
        gate_table(setting.name, looked)
    print(f"\n{redraws} redraws of {images:,} images, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
