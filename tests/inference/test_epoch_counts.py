"""Counts of epochs: whole files that come back as they were, whatever epoch is written again."""

from pathlib import Path

import numpy as np
import pytest

from saltern.errors import RunError
from saltern.inference.epoch_counts import EpochCounts

IDS = ("007", "NA", "ü")
RNG = np.random.default_rng(0)
DRAWN = RNG.integers(0, 1000, (5, 3, 3))


def after(*epochs: int, begun: EpochCounts | None = None) -> EpochCounts:
    counts = begun or EpochCounts.none(IDS)
    for epoch in epochs:
        counts = counts.with_epoch(epoch, DRAWN[epoch - 1])
    return counts


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "val_counts.safetensors"
    after(1, 2, 3).write(path)
    found = EpochCounts.read(path)
    assert found.ids == IDS
    assert found.counts.dtype == np.int32
    np.testing.assert_array_equal(found.counts, DRAWN[:3])
    assert found.is_whole


def test_an_epoch_that_is_done_again_leaves_the_bytes_of_an_undisturbed_training(tmp_path: Path) -> None:
    straight, again = tmp_path / "straight", tmp_path / "again"
    after(1, 2, 3).write(straight)
    after(1, 2, 3, 4, 5).write(again)
    after(2, 3, begun=EpochCounts.read(again)).write(again)
    assert straight.read_bytes() == again.read_bytes()


def test_epochs_of_an_earlier_version_are_marked_as_not_counted() -> None:
    found = after(3, 4)
    assert found.counts.shape == (4, 3, 3)
    assert (found.counts[:2] == -1).all()
    np.testing.assert_array_equal(found.counts[2:], DRAWN[2:4])
    assert not found.is_whole
    assert after(1, 2, begun=found).is_whole, "what comes later goes"


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_a_damaged_file_is_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "val_counts.safetensors"
    after(1, 2).write(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "gone":
        path.unlink()
    else:
        EpochCounts(IDS[:2], DRAWN[:1].astype(np.int32)).write(path)
    with pytest.raises(RunError, match=r"val_counts\.safetensors: cannot be read as the counts of epochs"):
        EpochCounts.read(path)
