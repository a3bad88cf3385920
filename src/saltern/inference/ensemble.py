"""Weighted means of what several runs say of an image, one image at a time."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from saltern.errors import RunError
from saltern.inference.calibrate import Platt, places, table_of
from saltern.inference.decide import Decision, decide
from saltern.inference.predictions import Prediction
from saltern.inference.store import ProbStore

log = logging.getLogger(__name__)

Terms = list[NDArray[np.float32]]
"""What each run gives to the mean, (H, W)."""


@dataclass(frozen=True)
class Recipe:
    """How K runs become one."""

    weights: tuple[float, ...]
    """K numbers of 0 or more, not all 0."""
    how: str = "probs"
    """One of ENSEMBLE_MEANS."""
    maps: tuple[Platt | None, ...] = ()
    """K maps that come first; empty for none."""
    decisions: tuple[Decision, ...] = ()
    """For `vote`: K, what makes the masks of each run."""

    def terms(self, said: Sequence[Prediction]) -> Terms:
        """What the runs give to the mean of one image: probabilities, logits or masks, before they are weighed."""
        if self.how == "vote":
            pairs = zip(said, self.decisions, strict=True)
            return [decide(one.probs, decision, one.presence).astype(np.float32) for one, decision in pairs]
        maps = self.maps or (None,) * len(said)
        if self.how == "probs" and not any(maps):
            return [one.probs.astype(np.float32) for one in said]
        pairs_of = zip(said, maps, strict=True)
        return [table_of(platt, self.how)[places(one.probs)] for one, platt in pairs_of]

    def weigh(self, terms: Terms, said: Sequence[Prediction]) -> Prediction:
        """Σ wᵢ tᵢ / Σ wᵢ as probabilities, float32; presence is such a mean, too, where every run says it."""
        shares = [weight / float(sum(self.weights)) for weight in self.weights]
        total, presence = np.zeros(terms[0].shape, dtype=np.float32), 0.0
        for share, term, one in zip(shares, terms, said, strict=True):
            if share:
                total += share * term
                presence += share * (one.presence or 0.0)
        lacking = any(one.presence is None for one in said)
        probs = expit(total) if self.how == "logits" else total
        return Prediction(probs, None if lacking else float(np.float32(presence)))

    def mean(self, said: Sequence[Prediction]) -> Prediction:
        """The mean of what the runs say of one image."""
        return self.weigh(self.terms(said), said)


def refuse_different_images(stores: Sequence[ProbStore]) -> None:
    """Raise a RunError unless all stores hold the same ids."""
    first = stores[0]
    for other in stores[1:]:
        strangers = sorted(set(first) ^ set(other))
        if strangers:
            raise RunError(
                f"{first.folder} and {other.folder} hold different images: {len(strangers)} stand in one alone, "
                f"such as {', '.join(strangers[:3])}. Only runs over the same images can be averaged."
            )


def side_by_side(stores: Sequence[ProbStore]) -> Iterator[tuple[str, list[Prediction]]]:
    """(id, what each store holds of it), in the order of the first store; presence where every store has it.

    Raises:
        RunError: the stores hold different ids, or one image in different sizes.
    """
    refuse_different_images(stores)
    first = stores[0]
    complete = all(store.has_presence for store in stores)
    for id in first:
        said = [Prediction(store[id], store.presence(id) if complete else None) for store in stores]
        for store, one in zip(stores, said, strict=True):
            if one.probs.shape != said[0].probs.shape:
                raise RunError(
                    f"{store.folder}: {id} is {one.probs.shape}, but {said[0].probs.shape} in {first.folder}."
                )
        yield id, said


def mean_of_stores(stores: Sequence[ProbStore], recipe_of: Callable[[str], Recipe]) -> Iterator[tuple[str, Prediction]]:
    """(id, its mean by `recipe_of` the id) for every id, in the order of the first store; float32.

    Presence is averaged where every store has it. Where only some do it is left out, with a warning.

    Raises:
        RunError: see `side_by_side`.
    """
    lacking = [store for store in stores if not store.has_presence]
    if 0 < len(lacking) < len(stores):
        log.warning(
            "%s: stores no presence, so the mean has none; those of the other runs are left out", lacking[0].folder
        )
    for id, said in side_by_side(stores):
        yield id, recipe_of(id).mean(said)
