"""The trainer asks for the share of empty images that the phase's epoch has, and writes it down."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fold_runs import Batch, data, fresh, phases, trainer


def test_each_epoch_asks_for_its_phases_share_and_logs_it_where_there_is_one(tmp_path: Path) -> None:
    whole, asked = data(), []

    def batches(epoch: int, sampling: float | None) -> Iterator[Batch]:
        asked.append((epoch, sampling))
        return iter(whole.batches(epoch, sampling))  # type: ignore[arg-type]

    engine, log = trainer(tmp_path, phases(epochs=3, sampling=[0.2, 0.8]))
    engine.fit(fresh(), replace(whole, batches=batches), seed=0)
    assert asked == [(0, None), (1, None), (2, None), (3, 0.2), (4, pytest.approx(0.5)), (5, 0.8)]
    assert ["empty_share" in scores for _, _, scores in log.rows] == [False] * 3 + [True] * 3
    assert [scores["empty_share"] for _, _, scores in log.rows[3:]] == [share for _, share in asked[3:]]
