"""The decision: how the probabilities of an image become its mask."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saltern.errors import RunError
from saltern.files import read_json, write_json


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Decision:
    """Three or four numbers, tuned on out-of-fold probabilities; the defaults are the neutral decision.

    Comparisons are made in float32, whatever precision the probabilities are stored in.
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

    def __post_init__(self) -> None:
        gate = self.presence_gate
        for key, good, expected in (
            ("threshold", _number(self.threshold) and 0 <= self.threshold < 1, "a number from 0 to below 1"),
            ("min_area", type(self.min_area) is int and self.min_area >= 0, "a whole number of pixels, 0 or more"),
            ("empty_gate", _number(self.empty_gate) and 0 <= self.empty_gate < 1, "a number from 0 to below 1"),
            ("presence_gate", gate is None or (_number(gate) and 0 <= gate < 1), "a number from 0 to below 1"),
        ):
            if not good:
                raise RunError(f"{key}={getattr(self, key)!r} is no part of a decision: expected {expected}.")

    def to_json(self) -> dict[str, Any]:
        """The content of `decision.json`, where no gate is null; `presence_gate` only where presence is stored."""
        content = {**asdict(self), "empty_gate": self.empty_gate or None, "presence_gate": self.presence_gate or None}
        if self.presence_gate is None:
            del content["presence_gate"]
        return content


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
    if not isinstance(content, dict) or sorted(content.keys() - {"presence_gate"}) != keys:
        shown = repr(content) if len(repr(content)) <= 120 else f"{repr(content)[:120]}…"
        raise RunError(
            f"{path}: holds {shown}; expected an object with the keys {', '.join(keys)}, and presence_gate where "
            "presence is stored. Run `make tune` again."
        )
    gates = {key: 0.0 for key in ("empty_gate", "presence_gate") if key in content and content[key] is None}
    try:
        decision = Decision(**{**content, **gates})
    except RunError as error:
        raise RunError(f"{path}: {error}") from None
    if decision.presence_gate and presence is False:
        raise RunError(f"{path}: {_no_presence(decision)}")
    return decision


def decide(probs: NDArray[np.floating[Any]], decision: Decision, presence: float | None = None) -> NDArray[np.uint8]:
    """The mask (H, W), uint8 {0, 1}, of an image with the probabilities `probs` (H, W) in [0, 1].

    `presence` is the probability that it holds any foreground; None where none is stored.

    Raises:
        RunError: a probability outside [0, 1], or NaN; a decision with a gate for presence where none is stored.
    """
    probs = as_probabilities(probs)
    mask = (probs > np.float32(decision.threshold)).astype(np.uint8)
    if np.count_nonzero(mask) < decision.min_area or peak(probs) < np.float32(decision.empty_gate):
        mask[:] = 0
    if decision.presence_gate:
        if presence is None:
            raise RunError(_no_presence(decision))
        if np.float32(presence) < np.float32(decision.presence_gate):
            mask[:] = 0
    return mask


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
