"""Weighted means of stored probabilities, one image at a time."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from saltern.errors import RunError
from saltern.inference.store import ProbStore


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


def mean_of_stores(stores: Sequence[ProbStore], weights: Sequence[float]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(id, Σ wᵢ pᵢ / Σ wᵢ) for every id, in the order of the first store; float32 (height, width).

    Raises:
        RunError: the stores hold different ids, or one image in different sizes.
    """
    assert len(stores) == len(weights), "one weight a store"
    assert min(weights) > 0, "weights are positive"
    refuse_different_images(stores)
    first = stores[0]
    total_weight = float(sum(weights))
    for id in first:
        total = np.zeros(first[id].shape, dtype=np.float32)
        for store, weight in zip(stores, weights, strict=True):
            probs = store[id]
            if probs.shape != total.shape:
                raise RunError(f"{store.folder}: {id} is {probs.shape}, but {total.shape} in {first.folder}.")
            total += (weight / total_weight) * probs.astype(np.float32)
        yield id, total
