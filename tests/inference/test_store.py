"""Stored probabilities come back by id, from as many shards as it takes; means are weighted as they say."""

from pathlib import Path

import numpy as np
import pytest

from saltern.errors import RunError
from saltern.inference.ensemble import mean_of_stores
from saltern.inference.store import ProbStore, ProbWriter, clear_shards

RANDOM = np.random.default_rng(0)


def write(folder: Path, probs: dict[str, np.ndarray], prefix: str = "p", shard_mb: int = 1) -> ProbStore:
    with ProbWriter(folder, prefix, shard_mb) as writer:
        for name, single in probs.items():
            writer.add(name, single)
    return ProbStore(folder)


def test_what_goes_in_comes_out_in_half_precision(tmp_path: Path) -> None:
    probs = {f"id/{number}": RANDOM.random((5 + number, 7)).astype(np.float32) for number in range(4)}
    store = write(tmp_path, probs)
    assert set(store) == set(probs)
    assert len(store) == 4
    for name, single in probs.items():
        assert store[name].dtype == np.float16
        assert np.array_equal(store[name], single.astype(np.float16))


def test_shards_are_closed_at_their_size(tmp_path: Path) -> None:
    probs = {str(number): RANDOM.random((512, 512)) for number in range(5)}  # half a megabyte each
    store = write(tmp_path, probs)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"p_0000{number}.safetensors" for number in range(3)]
    assert all(np.array_equal(store[name], probs[name].astype(np.float16)) for name in probs)


def test_clearing_touches_only_its_own_prefix(tmp_path: Path) -> None:
    write(tmp_path, {str(number): RANDOM.random((512, 512)) for number in range(4)}, "fold_1")
    write(tmp_path, {"x": np.ones((2, 2))}, "fold_10")
    clear_shards(tmp_path, "fold_1_")
    store = write(tmp_path, {"y": np.zeros((2, 2))}, "fold_1")
    assert sorted(store) == ["x", "y"]


def test_an_error_while_predicting_leaves_no_last_shard(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with ProbWriter(tmp_path, "p", 1) as writer:
            writer.add("a", np.ones((2, 2)))
            raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_missing_damaged_and_repeated_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no stored probabilities"):
        ProbStore(tmp_path)
    store = write(tmp_path, {"a": np.ones((2, 2))})
    with pytest.raises(RunError, match="'b'"):
        store["b"]
    write(tmp_path, {"c": np.ones((2, 2))}, "q")
    with ProbWriter(tmp_path, "r", 1) as writer:
        writer.add("a", np.ones((2, 2)))
    with pytest.raises(RunError, match="a also stands in"):
        ProbStore(tmp_path)
    (tmp_path / "r_00000.safetensors").write_bytes(b"1234567890")
    with pytest.raises(RunError, match="not readable"):
        ProbStore(tmp_path)


def test_the_weighted_mean_divides_by_the_sum_of_weights(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"x": np.full((2, 3), 0.25), "y": np.zeros((1, 1))})
    second = write(tmp_path / "b", {"y": np.ones((1, 1)), "x": np.full((2, 3), 1.0)})
    means = dict(mean_of_stores([first, second], [3.0, 1.0]))
    assert np.allclose(means["x"], (3 * 0.25 + 1.0) / 4)
    assert means["y"].item() == pytest.approx(0.25)


def test_runs_over_different_images_are_not_averaged(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"x": np.zeros((2, 2))})
    with pytest.raises(RunError, match="different images"):
        list(mean_of_stores([first, write(tmp_path / "b", {"z": np.zeros((2, 2))})], [1, 1]))
    with pytest.raises(RunError, match=r"\(2, 3\)"):
        list(mean_of_stores([first, write(tmp_path / "c", {"x": np.zeros((2, 3))})], [1, 1]))
