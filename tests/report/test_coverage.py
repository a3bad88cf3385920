"""Bins of coverage and the choice of examples."""

import numpy as np
import pandas as pd
import pytest

from saltern.report.coverage import NAMES, coverage_bins, extreme


@pytest.mark.parametrize(
    ("share", "name"),
    [(0, "empty"), (1e-6, "0-1"), (0.01, "0-1"), (0.011, "1-5"), (0.6, "40-60"), (0.61, "60-100"), (1, "60-100")],
)
def test_every_share_has_its_bin(share: float, name: str) -> None:
    assert NAMES[int(coverage_bins(np.array([share]))[0])] == name


def test_equal_scores_take_turns_by_coverage_and_never_pass_a_better_one() -> None:
    table = pd.DataFrame(
        {
            "id": list("abcdefg"),
            "score": [1.0, 1.0, 1.0, 1.0, 0.9, 0.5, 0.5],
            "iou": [0.99, 0.98, 0.97, 0.96, 0.95, 0.6, 0.7],
            "coverage": [0.9, 0.9, 0.9, 0.03, 0.0, 0.0, 0.0],
        }
    )
    assert extreme(table, "score", "iou", ascending=False, count=6)["id"].tolist() == ["d", "a", "b", "c", "e", "g"]
    assert extreme(table, "score", "iou", ascending=True, count=4)["id"].tolist() == ["f", "g", "e", "d"]
    assert list(extreme(table, "score", "iou", ascending=True, count=1).columns) == list(table.columns)
    assert extreme(table[:0], "score", "iou", ascending=True, count=4).empty
