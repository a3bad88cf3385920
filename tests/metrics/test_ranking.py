"""The area under the ROC curve, pair by pair and by hand."""

import numpy as np
import pytest

from saltern.metrics.ranking import roc_auc


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_share_of_pairs_in_the_right_order_where_ties_count_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(60) < 0.3
    values = (rng.random(60) + 0.3 * positive).round(1 if seed % 2 else 9).astype(np.float32)
    pairs = [(high > low) + 0.5 * (high == low) for high in values[positive] for low in values[~positive]]
    assert roc_auc(values, positive) == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.8, 0.9], 1.0),
        ([0.9, 0.8, 0.2, 0.1], 0.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.1, 0.5, 0.4, 0.9], 0.75),
    ],
)
def test_hand_values(values: list[float], expected: float) -> None:
    assert roc_auc(np.array(values), np.array([False, False, True, True])) == expected


@pytest.mark.parametrize("kind", [True, False])
def test_images_of_one_kind_have_none(kind: bool) -> None:
    assert roc_auc(np.array([0.1, 0.9]), np.array([kind, kind])) is None
