"""Limits of what is read at once: they are stated, and what is below them is read."""

import threading
import time
from pathlib import Path

import pytest

from saltern.data.source import csvs
from saltern.data.source.csvs import read_csv
from saltern.data.source.dataset import RleForm
from saltern.data.source.limits import Allowance, read_bytes
from saltern.data.source.problems import Problems
from saltern.errors import DataError


def test_a_file_has_a_limit_of_its_own_kind(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(DataError, match="5 bytes; at most 4 are read"):
        read_bytes(path, 4)
    with pytest.raises(DataError, match="a folder; expected a file"):
        read_bytes(tmp_path, 4)


def most_at_once(amounts: list[int], allowance: Allowance) -> int:
    """The largest sum that threads held at the same time."""
    held, sums, lock = [0], [0], threading.Lock()

    def work(amount: int) -> None:
        with allowance.hold(amount):
            with lock:
                held[0] += amount
                sums.append(held[0])
            time.sleep(0.002)
            with lock:
                held[0] -= amount

    threads = [threading.Thread(target=work, args=(amount,)) for amount in amounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return max(sums)


def test_threads_share_an_allowance_and_what_exceeds_it_goes_alone() -> None:
    assert 3 < most_at_once([3] * 40, Allowance(10)) <= 10
    assert most_at_once([25, 3, 30, 3, 25, 3], Allowance(10)) == 30


@pytest.mark.parametrize(
    ("limit", "value", "content", "why"),
    [
        ("MAX_CELLS", 8, "a,1\n" * 5, r"more than 4 rows of 2 columns; at most 8 cells are read"),
        ("MAX_CELLS", 8, "\n" * 5, r"more than 4 rows"),
        ("MAX_TABLE_BYTES", 30, "a,1\n" * 5, r"32 bytes; at most 30"),
    ],
)
def test_a_table_past_a_limit_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, content: str, why: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,rle_mask\n" + content)
    read_csv(path, ["id"])
    monkeypatch.setattr(csvs, limit, value)
    with pytest.raises(DataError, match=why):
        read_csv(path, ["id"])


def test_large_tables_are_read_and_every_ragged_line_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("id,rle_mask\n" + "".join(f"{number},{number} 1\n" for number in range(3_001)))
    table = read_csv(path, ["id"])
    assert table["rle_mask"].tolist() == [f"{number} 1" for number in range(3_001)]
    path.write_text("id,rle_mask\n" + "a,1\nb\n" * 1_000)
    with pytest.raises(DataError, match=r"(?s)line 3 has 1 fields.*994 more ragged rows \(1000 in all\)"):
        read_csv(path, ["id"])


def test_run_lengths_longer_than_the_image_allows_are_not_parsed() -> None:
    every_other = " ".join(f"{start} 1" for start in range(1, 26, 2))
    assert RleForm().decode(every_other, (5, 5), "x").sum() == 13
    with pytest.raises(DataError, match="characters of run lengths"):
        RleForm().decode("1 1 " * 1_000_000, (5, 5), "x")


def test_problems_are_counted_and_only_the_first_are_kept() -> None:
    problems = Problems("x")
    for number in range(100_000):
        problems.add("things", f"thing {number}\x1b[2J\udcff")
    assert problems.lines()[0] == r"thing 0\x1b[2J\udcff"
    assert problems.lines()[-1] == "99994 more things (100000 in all)"
