"""The decision: how the probabilities of an image become its mask."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.errors import RunError
from saltern.files import read_json, write_json
from saltern.inference.shapes import PLAIN, Shape, shaped


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> bool:
    return type(value) is int and value >= 0


SHAPE_KEYS = tuple(asdict(PLAIN))
"""The keys of a decision that say what is done to the shape of a mask; in `decision.json` only where they do."""


@dataclass(frozen=True)
class Decision:
    """A few numbers, tuned on out-of-fold probabilities; the defaults are the neutral decision.

    Comparisons are made in float32, whatever precision the probabilities are stored in. The mask above the threshold is
    shaped first (`fill_holes`, `min_component`, `largest`, see `Shape`); area and gates then ask whether it stays.
    """

    threshold: float = 0.5
    """A pixel is foreground where its probability is greater."""
    min_area: int = 0
    """A mask with fewer foreground pixels becomes empty."""
    empty_gate: float = 0.0
    """A mask becomes empty where no probability of the image reaches this; 0 is no gate."""
    presence_gate: float | None = None
    """A mask becomes empty where the probability that the image holds any foreground is lower; 0 is no gate. None where
    no such probability is stored."""
    fill_holes: int = 0
    """Holes of at most so many pixels are filled; 0 fills none."""
    min_component: int = 0
    """Components with fewer pixels are taken away; 0 takes none."""
    largest: int = 0
    """So many components are kept, the largest; 0 keeps all."""

    @property
    def shape(self) -> Shape:
        """What is done to the mask above the threshold."""
        return Shape(self.fill_holes, self.min_component, self.largest)

    def __post_init__(self) -> None:
        gate = self.presence_gate
        for key, good, expected in (
            ("threshold", _number(self.threshold) and 0 <= self.threshold < 1, "a number from 0 to below 1"),
            ("min_area", _whole(self.min_area), "a whole number of pixels, 0 or more"),
            ("empty_gate", _number(self.empty_gate) and 0 <= self.empty_gate < 1, "a number from 0 to below 1"),
            ("presence_gate", gate is None or (_number(gate) and 0 <= gate < 1), "a number from 0 to below 1"),
            *((key, _whole(getattr(self, key)), "a whole number, 0 or more") for key in SHAPE_KEYS),
        ):
            if not good:
                raise RunError(f"{key}={getattr(self, key)!r} is no part of a decision: expected {expected}.")

    def to_json(self) -> dict[str, Any]:
        """The content of `decision.json`, where no gate is null.

        `presence_gate` stands there only where presence is stored, each of SHAPE_KEYS only where it does something.
        """
        content = {**asdict(self), "empty_gate": self.empty_gate or None, "presence_gate": self.presence_gate or None}
        left_out = {key for key in SHAPE_KEYS if not content[key]}
        if self.presence_gate is None:
            left_out.add("presence_gate")
        return {key: value for key, value in content.items() if key not in left_out}


NEUTRAL = Decision()

ROUNDING = 1e-3
"""How far a mean of probabilities in half precision may leave [0, 1]."""


def write_decision(path: Path, decision: Decision) -> None:
    """Write `decision.json` in one step."""
    write_json(path, decision.to_json())


def read_decision(path: Path, *, presence: bool | None = None) -> Decision:
    """Read `decision.json`, which may have been edited by hand.

    Args:
        path: where it lies.
        presence: whether the run that it decides for stores presence; None: it decides nothing here.

    Raises:
        RunError: the file is missing, is no JSON, lacks a key, has another, or holds an impossible number; a gate for
            presence where `presence` says that none is stored.
    """
    content = read_json(path, "Run `make tune` again, or mend what was edited.")
    keys = sorted(NEUTRAL.to_json())
    if not isinstance(content, dict) or sorted(content.keys() - {"presence_gate", *SHAPE_KEYS}) != keys:
        shown = repr(content) if len(repr(content)) <= 120 else f"{repr(content)[:120]}…"
        raise RunError(
            f"{path}: holds {shown}; expected an object with the keys {', '.join(keys)}, and presence_gate where "
            f"presence is stored; {', '.join(SHAPE_KEYS)} may be there. Run `make tune` again."
        )
    try:
        decision = decision_of(content)
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    if decision.presence_gate and presence is False:
        raise RunError(f"{path}: {_no_presence(decision)}")
    return decision


def decision_of(content: Mapping[str, Any]) -> Decision:
    """The decision that `to_json` wrote. Raises a RunError for impossible numbers."""
    gates = {key: 0.0 for key in ("empty_gate", "presence_gate") if key in content and content[key] is None}
    return Decision(**{**content, **gates})


def decide(probs: NDArray[np.floating[Any]], decision: Decision, presence: float | None = None) -> NDArray[np.uint8]:
    """The mask (H, W), uint8 {0, 1}, of an image with the probabilities `probs` (H, W) in [0, 1].

    `presence` is the probability that it holds any foreground; None where none is stored.

    Raises:
        RunError: a probability outside [0, 1], or NaN; a decision with a gate for presence where none is stored.
    """
    probs = as_probabilities(probs)
    mask = above_threshold(probs, decision)
    if np.count_nonzero(mask) < decision.min_area or peak(probs) < np.float32(decision.empty_gate):
        mask[:] = 0
    if decision.presence_gate:
        if presence is None:
            raise RunError(_no_presence(decision))
        if np.float32(presence) < np.float32(decision.presence_gate):
            mask[:] = 0
    return mask


def above_threshold(probs: NDArray[np.float32], decision: Decision) -> NDArray[np.uint8]:
    """The mask (H, W) of `probs`, shaped, before area and gates are asked."""
    return shaped((probs > np.float32(decision.threshold)).astype(np.uint8), decision.shape)


def _no_presence(decision: Decision) -> str:
    return (
        f"presence_gate={decision.presence_gate!r}: the decision asks for the probability that an image holds any "
        "foreground, and this run stores none. Leave presence_gate out of decision.json, or train a run with "
        "model.heads.empty."
    )


def as_probabilities(probs: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """`probs` in the precision in which decisions compare, refused unless all lie in [0, 1] up to rounding."""
    probs = np.asarray(probs, dtype=np.float32)
    if probs.size and not (probs.min() >= -ROUNDING and probs.max() <= 1 + ROUNDING):
        raise RunError(
            f"probabilities from {probs.min()} to {probs.max()}: expected numbers from 0 to 1. "
            "Delete the stored probabilities and predict again; NaN points to weights that diverged."
        )
    return probs


def peak(probs: NDArray[np.float32]) -> np.float32:
    """The highest probability of an image; 0 for one without pixels."""
    return probs.max(initial=np.float32(0))
