"""Stored probabilities come back by id, from as many shards as it takes; means are weighted as they say."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from saltern.errors import RunError
from saltern.inference.ensemble import Recipe, mean_of_stores
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
    means = dict(mean_of_stores([first, second], lambda _: Recipe((3.0, 1.0))))
    assert np.allclose(means["x"].probs, (3 * 0.25 + 1.0) / 4)
    assert means["y"].probs.item() == pytest.approx(0.25)


def with_presence(folder: Path, presence: dict[str, float], prefix: str = "p", shard_mb: int = 1) -> ProbStore:
    with ProbWriter(folder, prefix, shard_mb) as writer:
        for name, single in presence.items():
            writer.add(name, np.zeros((512, 512)), single)
    return ProbStore(folder)


def test_presence_comes_back_to_the_last_bit_and_is_no_key_of_a_shard(tmp_path: Path) -> None:
    presence = {f"id/{number} é": float(np.float32(RANDOM.random())) for number in range(5)}
    store = with_presence(tmp_path, presence)
    assert store.has_presence
    assert len(list(tmp_path.iterdir())) == 3
    assert {name: store.presence(name) for name in store} == presence
    keys = [key for path in tmp_path.iterdir() for key in load_file(path)]
    assert sorted(keys) == sorted(presence)


def test_without_presence_a_shard_has_the_bytes_of_plain_safetensors(tmp_path: Path) -> None:
    store = write(tmp_path / "a", {"x": np.full((2, 3), 0.25)})
    assert not store.has_presence
    assert store.presence("x") is None
    with pytest.raises(RunError, match="nothing is stored for the id 'y'"):
        store.presence("y")
    save_file({"x": np.full((2, 3), 0.25, np.float16)}, tmp_path / "plain")
    assert (tmp_path / "a/p_00000.safetensors").read_bytes() == (tmp_path / "plain").read_bytes()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "no JSON from id to a number"),
        ("[" * 100_000, "no JSON from id to a number"),
        ("[]", "no JSON from id to a number"),
        ('{"a": 0.5, "b": "0.5"}', "no JSON from id to a number"),
        ('{"a": 0.5, "b": NaN}', "no JSON from id to a number"),
        ('{"a": 0.5, "b": 1.5}', "no JSON from id to a number"),
        ('{"a": 0.5, "b": true}', "no JSON from id to a number"),
        ('{"a": 0.5}', "such as 'b'"),
        ('{"a": 0.5, "b": 0.5, "c": 0.5}', "such as 'c'"),
        ("{}", "such as 'a'"),
    ],
)
def test_damaged_presence_is_refused_with_its_shard(text: str, complaint: str, tmp_path: Path) -> None:
    shard = tmp_path / "p_00000.safetensors"
    save_file(dict.fromkeys("ab", np.zeros((2, 2), np.float16)), shard, {"presence": text})
    with pytest.raises(RunError, match=complaint) as caught:
        ProbStore(tmp_path)
    assert str(shard) in str(caught.value)


def test_presence_of_some_shards_alone_is_refused(tmp_path: Path) -> None:
    with_presence(tmp_path, {"a": 0.5}, "p")
    write(tmp_path / "other", {"b": np.zeros((2, 2))}, "q")
    (tmp_path / "other/q_00000.safetensors").rename(tmp_path / "q_00000.safetensors")
    with pytest.raises(RunError, match=r"q_00000\.safetensors: stores no presence, but others do"):
        ProbStore(tmp_path)


def test_presence_that_is_no_number_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'a' are not finite"):
        with_presence(tmp_path, {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_the_mean_of_presence_is_weighted_and_left_out_with_a_warning_where_some_store_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = with_presence(tmp_path / "a", {"x": 0.25, "y": 0.0})
    second = with_presence(tmp_path / "b", {"y": 1.0, "x": 1.0})
    means = dict(mean_of_stores([first, second], lambda _: Recipe((3.0, 1.0))))
    assert means["x"].presence == (3 * 0.25 + 1.0) / 4
    assert means["y"].presence == 0.25
    assert caplog.text == ""
    third = write(tmp_path / "c", {"x": np.ones((512, 512)), "y": np.zeros((512, 512))})
    means = dict(mean_of_stores([first, third], lambda _: Recipe((1.0, 1.0))))
    assert [mean.presence for mean in means.values()] == [None, None]
    assert np.allclose(means["x"].probs, 0.5)
    assert f"{tmp_path / 'c'}: stores no presence, so the mean has none" in caplog.text


def test_runs_over_different_images_are_not_averaged(tmp_path: Path) -> None:
    first = write(tmp_path / "a", {"x": np.zeros((2, 2))})
    with pytest.raises(RunError, match="different images"):
        list(mean_of_stores([first, write(tmp_path / "b", {"z": np.zeros((2, 2))})], lambda _: Recipe((1, 1))))
    with pytest.raises(RunError, match=r"\(2, 3\)"):
        list(mean_of_stores([first, write(tmp_path / "c", {"x": np.zeros((2, 3))})], lambda _: Recipe((1, 1))))
