"""One pass over all images out of fold: what the page's browser and its figures need, and no pixel is kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from saltern.inference.decide import Decision
from saltern.inference.painted import Painted
from saltern.inference.predictions import Prediction
from saltern.inference.tune import Sample as OutOfFold
from saltern.inference.tune import Statistics, collect
from saltern.metrics.calibration import Reliability
from saltern.progress import Progress
from saltern.report.mistakes import kind_of
from saltern.report.pictures import Load, Sample
from saltern.report.tiles import TileWriter, levels_of, tile

UNSURE = (0.25, 0.75)
"""Probabilities between these are doubtful."""

Members = Callable[[str], Sequence[NDArray[np.floating[Any]]]]
"""Id → the probabilities (H, W) of each member of an ensemble."""


@dataclass(frozen=True)
class TestImages:
    """What is known of test images, a row each."""

    table: pd.DataFrame
    """Columns of LOOKS, and `share`: that of the predicted mask, NaN where no probabilities are stored."""
    of: int
    """Test images in all; `table` may hold a part of them, evenly chosen."""


@dataclass(frozen=True)
class Beside:
    """What a page shows where it is known, beside the artifacts of its run."""

    groups: Mapping[str, str] = field(default_factory=dict)
    """Id → group; an image that belongs to no other is left out."""
    members: Members | None = None
    """For an ensemble; None: not asked for, or not there."""
    members_note: str = ""
    """Why there are none; empty for a run that is no ensemble."""
    test: Callable[[Decision], TestImages] | None = None
    """Looks at the test images; None where there are none."""
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True)
class Survey:
    """What the pass has found; N images in the order of the ids, and the T levels of the page's slider."""

    statistics: Statistics
    table: pd.DataFrame
    """N rows: id, kind, share (of the mask among valid pixels), doubt, disagreement, width, height, step, LOOKS."""
    reliability: Reliability
    """Of all valid pixels."""
    taken: Mapping[str, float]
    """Id → share above the threshold, of images that a gate emptied though it is large; see `Painted`."""
    void: int
    """Pixels that are not scored."""


LOOKS = ("brightness", "contrast", "pixels")
"""Mean and standard deviation of an image's grey values in [0, 255], and its size: the root of height times width."""


def looks_of(image: NDArray[np.uint8]) -> dict[str, float]:
    """LOOKS of `image` (H, W, 3)."""
    grey = image.mean(axis=2, dtype=np.float32)
    size = float(np.sqrt(grey.shape[0] * grey.shape[1]))
    return {"brightness": float(grey.mean()), "contrast": float(grey.std()), "pixels": size}


def disagreement(masks: Sequence[NDArray[np.bool_]]) -> float:
    """How far the masks (H, W) of several members are apart: 1 - all / any.

    `all` is the number of pixels that every member calls foreground, `any` of those that at least one does. 0 where
    nobody does; for two members it is 1 - IoU.
    """
    union = np.count_nonzero(np.any(masks, axis=0))
    return 1 - np.count_nonzero(np.all(masks, axis=0)) / union if union else 0.0


class _Pass:
    """Gathers while `collect` draws the images out of it, one by one."""

    def __init__(self, decision: Decision, beside: Beside, writer: TileWriter, levels: NDArray[np.float32]) -> None:
        self.painted, self.beside, self.writer, self.levels = Painted(decision), beside, writer, levels
        self.rows: list[dict[str, Any]] = []
        self.reliability, self.void = Reliability(), 0

    def samples(self, ids: Iterable[str], load: Load) -> Iterator[OutOfFold]:
        for name in ids:
            sample = load(name)
            self.rows.append(self._row(name, sample))
            self.reliability.add(sample.probs, sample.target)
            self.void += int(np.count_nonzero(sample.target == 255))
            self.beside.progress.advance(1)
            yield OutOfFold(name, sample.probs, sample.target, sample.presence)

    def _row(self, name: str, sample: Sample) -> dict[str, Any]:
        mask = self.painted.mask(name, Prediction(sample.probs, sample.presence))
        valid = sample.target != 255
        doubt = (sample.probs > UNSURE[0]) & (sample.probs < UNSURE[1]) & valid
        made = tile(sample, self.levels)
        self.writer.add(made)
        pixels = max(1, int(np.count_nonzero(valid)))
        row = {
            "id": name,
            "kind": kind_of(mask, sample.target),
            "share": np.count_nonzero(mask[valid]) / pixels,
            "doubt": np.count_nonzero(doubt) / pixels,
            "width": made.width,
            "height": made.height,
            "step": made.step,
            **looks_of(sample.image),
        }
        if self.beside.members is not None:
            threshold = np.float32(self.painted.decision.threshold)
            row["disagreement"] = disagreement(
                [np.asarray(probs, np.float32) > threshold for probs in self.beside.members(name)]
            )
        return row


def survey(
    ids: Sequence[str], load: Load, decisions: Sequence[Decision], thresholds: Sequence[float], beside: Beside,
    writer: TileWriter,
) -> Survey:  # fmt: skip
    """Look at every image once.

    Args:
        ids: of the images out of fold.
        load: gives an image with its truth and probabilities.
        decisions: the one that masks are made with; its threshold and those of the others become levels, and masks are
            counted in the shape of each.
        thresholds: more levels, such as the candidates of tuning.
        beside: groups, members, progress.
        writer: takes a tile an image, in the order of `ids`.

    Raises:
        RunError: probabilities that are none; see `collect`.
    """
    levels = levels_of(*(each.threshold for each in decisions), *thresholds)
    found = _Pass(decisions[0], beside, writer, levels)
    with beside.progress.track("drawing the page", len(ids)):
        shapes = [each.shape for each in decisions]
        statistics = collect(found.samples(ids, load), [float(level) for level in levels], shapes)
    return Survey(statistics, pd.DataFrame(found.rows), found.reliability, found.painted.taken, found.void)
