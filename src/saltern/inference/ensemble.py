"""Weighted means of stored predictions, one image at a time."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from saltern.errors import RunError
from saltern.inference.predictions import Prediction
from saltern.inference.store import ProbStore

log = logging.getLogger(__name__)


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


def mean_of_stores(stores: Sequence[ProbStore], weights: Sequence[float]) -> Iterator[tuple[str, Prediction]]:
    """(id, Σ wᵢ pᵢ / Σ wᵢ) for every id, in the order of the first store; float32.

    Presence is such a mean too where every store has it. Where only some do it is left out, with a warning.

    Raises:
        RunError: the stores hold different ids, or one image in different sizes.
    """
    assert len(stores) == len(weights), "one weight a store"
    assert min(weights) > 0, "weights are positive"
    refuse_different_images(stores)
    first, lacking = stores[0], [store for store in stores if not store.has_presence]
    if 0 < len(lacking) < len(stores):
        log.warning(
            "%s: stores no presence, so the mean has none; those of the other runs are left out", lacking[0].folder
        )
    shares = [weight / float(sum(weights)) for weight in weights]
    for id in first:
        total, presence = np.zeros(first[id].shape, dtype=np.float32), 0.0
        for store, share in zip(stores, shares, strict=True):
            probs = store[id]
            if probs.shape != total.shape:
                raise RunError(f"{store.folder}: {id} is {probs.shape}, but {total.shape} in {first.folder}.")
            total += share * probs.astype(np.float32)
            presence += share * (store.presence(id) or 0.0)
        yield id, Prediction(total, None if lacking else float(np.float32(presence)))
