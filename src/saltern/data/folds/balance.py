"""Divide whole groups into folds of equal size and equal coverage: greedily, from several random orders.

The largest groups are placed first, each where it brings the folds nearest to equal shares (the largest-first rule of
Graham, 1969, for machines; with several features the fold of the smallest increase of the squared imbalance). A random
order among groups of similar size gives another division for every seed, and of `RESTARTS` orders the best is kept.
Then pairs of groups change places, or one of them its fold, where that makes the folds more alike.
"""

import numpy as np

RESTARTS = 8
"""Random orders that are tried."""
JITTER = 0.25
"""Groups whose sizes differ by less than about this share change places in the order."""
PAIRS = 4000
"""Pairs of groups, about (every group twice at least), that are tried for an exchange after each order."""
_LEAST = 1e-15
_SIZE_WEIGHT = 20.0
"""Equal sizes matter as much as this many classes of coverage."""


def balanced(features: np.ndarray, labels: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """A fold from 0 to n - 1 for every image, int64 (N,); images of one group share it.

    Args:
        features: float (N, D), 0 or more: what every fold shall hold an equal share of. The folds' sizes are always
            balanced and need no column.
        labels: int (N,), the group of every image: 0, 1, … without gaps, at least `n` groups.
        n: number of folds; each gets at least one group.
        random: decides between divisions that are equally good, or nearly.
    """
    count = int(labels.max()) + 1
    assert count >= n, "fewer groups than folds"
    sizes = np.bincount(labels, minlength=count).astype(float)
    sums = np.stack([sizes, *(np.bincount(labels, column, count) for column in features.T)], axis=1)
    totals = sums.sum(axis=0)
    sums = sums[:, totals > 0] / totals[totals > 0]  # (groups, D): shares of the whole
    weights = np.sqrt(np.array([_SIZE_WEIGHT] + [1.0] * (sums.shape[1] - 1)))
    scaled = sums * weights
    best, least = np.zeros(count, np.int64), np.inf
    for attempt in range(RESTARTS):
        spread = JITTER if attempt else 0.0  # once strictly by size
        order = np.lexsort((random.permutation(count), -sizes * np.exp(random.uniform(-spread, spread, count))))
        folds = _greedy(scaled, order, n)
        _exchange(scaled, folds, n, random)
        cost = _imbalance(scaled, folds, n)
        if cost < least - 1e-12:
            best, least = folds, cost
    return best[labels]


def _imbalance(shares: np.ndarray, folds: np.ndarray, n: int) -> float:
    """Squared distance of the folds' sums from equal ones."""
    sums = np.zeros((n, shares.shape[1]))
    np.add.at(sums, folds, shares)
    return float(((sums - shares.sum(axis=0) / n) ** 2).sum())


def _greedy(shares: np.ndarray, order: np.ndarray, n: int) -> np.ndarray:
    """A fold for every group (G,), placed in `order`; the last ones go to folds that are still empty."""
    folds = np.zeros(len(shares), np.int64)
    over = np.repeat(-shares.sum(axis=0, keepdims=True) / n, n, axis=0)  # (n, D): sums less equal shares
    empty = set(range(n))
    for position, group in enumerate(order):
        gain = over @ shares[group]
        left = len(order) - position
        choice = min(empty, key=lambda fold: float(gain[fold])) if left <= len(empty) else int(gain.argmin())
        folds[group] = choice
        over[choice] += shares[group]
        empty.discard(choice)
    return folds


def _exchange(shares: np.ndarray, folds: np.ndarray, n: int, random: np.random.Generator) -> None:
    """Let random pairs of groups in different folds change places where that lessens the imbalance; in place."""
    over = np.zeros((n, shares.shape[1]))
    np.add.at(over, folds, shares)
    over -= shares.sum(axis=0) / n
    filled = np.bincount(folds, minlength=n)
    for _ in range(max(2, PAIRS // max(len(folds) // 2, 1))):
        order = random.permutation(len(folds))
        for one, other in zip(order[::2], order[1::2], strict=False):
            first, second = folds[one], folds[other]
            if first == second:
                continue
            step = shares[other] - shares[one]
            if 2 * (over[first] - over[second]) @ step + 2 * step @ step < -_LEAST:
                over[first] += step
                over[second] -= step
                folds[one], folds[other] = second, first
            elif filled[first] > 1:
                step = shares[one]
                if 2 * (over[second] - over[first]) @ step + 2 * step @ step < -_LEAST:
                    over[first] -= step
                    over[second] += step
                    folds[one] = second
                    filled[first] -= 1
                    filled[second] += 1
