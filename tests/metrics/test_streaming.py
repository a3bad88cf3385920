"""Streaming scores equal the scores of the whole, however it is cut."""

import numpy as np
import pytest
import torch

from saltern.metrics.scores import summarise
from saltern.metrics.streaming import StreamingCounts


@pytest.fixture
def counts() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 50, (23, 3)))


def test_batches_of_any_size_give_the_scores_of_the_whole(counts: torch.Tensor) -> None:
    stream = StreamingCounts()
    for batch in counts.split([5, 1, 0, 17]):
        stream.update(batch)
    assert stream.summarise() == summarise(counts.numpy())
    np.testing.assert_array_equal(stream.counts(), counts.numpy())


def test_merged_streams_hold_the_rows_of_both(counts: torch.Tensor) -> None:
    first, second = StreamingCounts(), StreamingCounts()
    first.update(counts[:9])
    second.update(counts[9:])
    first.merge(second)
    assert first.summarise() == summarise(counts.numpy())


def test_ranks_with_unequal_shares_agree_on_the_scores_of_all(counts: torch.Tensor) -> None:
    ranks = [StreamingCounts() for _ in range(3)]
    for rank, part in zip(ranks, counts.split([15, 8, 0]), strict=True):
        if len(part):
            rank.update(part)
    sent: list[torch.Tensor] = []

    def send(sums: torch.Tensor) -> torch.Tensor:
        sent.append(sums)
        return torch.ones(7, dtype=torch.float64)

    for rank in ranks:
        rank.summarise(send)
    for rank in ranks:
        assert rank.summarise(lambda _: torch.stack(sent).sum(0)) == pytest.approx(summarise(counts.numpy()))


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(AssertionError, match=r"\(3,\)"):
        StreamingCounts().update(torch.zeros(3, dtype=torch.int64))
