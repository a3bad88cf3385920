"""A half-written file never replaces a good one, an error of the disk says what to do, and leftovers are cleared."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from saltern.errors import RunError, StorageError
from saltern.files import (
    as_storage_error,
    atomic,
    atomic_folder,
    clear_leftovers,
    leftovers,
    read_as,
    read_json,
    temporary_beside,
    write_json,
    write_text,
)


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "good")

    def fail_half_way() -> None:
        with atomic(path) as temporary:
            temporary.write_text("ha")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        StorageError, match=r"a\.txt: cannot be written: No space left on device; [\d,]+ bytes are free"
    ):
        fail_half_way()
    assert path.read_text() == "good"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_json_round_trip_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"threshold": 0.5, "empty_gate": None})
    assert json.loads(path.read_text()) == read_json(path) == {"threshold": 0.5, "empty_gate": None}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path)["threshold"] == 0.5


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(RunError, match=r"a\.json: not readable"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match="no such file"):
        read_json(tmp_path / "b.json")


def test_json_that_is_no_utf8_or_too_deep_is_named(tmp_path: Path) -> None:
    for content in (b"\xff\xfe{}", b"[" * 100_000):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(RunError, match=r"a\.json: not readable"):
            read_json(tmp_path / "a.json")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "set"
    with atomic_folder(path) as new:
        (new / "a").write_text("1")
    with atomic_folder(path) as new:
        (new / "b").write_text("2")
    assert [item.name for item in path.iterdir()] == ["b"]

    def fail_half_way() -> None:
        with atomic_folder(path) as new:
            (new / "c").write_text("3")
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(StorageError, match="set: cannot be written: Input/output error"):
        fail_half_way()
    assert [item.name for item in tmp_path.iterdir()] == ["set"]
    assert [item.name for item in path.iterdir()] == ["b"]


def test_what_a_dead_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from saltern.files import temporary_beside;"
        "temporary_beside(Path(sys.argv[1]) / 'last.ckpt').write_text('half');"
        "folder = temporary_beside(Path(sys.argv[1]) / 'tgs'); folder.mkdir(); (folder / 'x').write_text('half')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    mine = temporary_beside(tmp_path / "last.ckpt")
    mine.write_text("half")
    foreign = tmp_path / ".last.ckpt.elsewhere.1.0123abcd.tmp"
    foreign.write_text("half")
    (tmp_path / "notes.tmp").write_text("the user's own")
    assert len(leftovers(tmp_path)) == 2
    assert len(clear_leftovers(tmp_path)) == 2
    assert sorted(tmp_path.iterdir()) == sorted([mine, foreign, tmp_path / "notes.tmp"])
    os.utime(foreign, (0, 0))
    assert clear_leftovers(tmp_path) == [foreign], "untouched for longer than a day"


def test_two_names_beside_one_file_differ_and_fit_a_file_system(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    names = {temporary_beside(path).name for _ in range(20)}
    assert len(names) == 20
    assert max(map(len, names)) <= 255


@dataclass(frozen=True)
class Shape:
    name: str
    share: float
    sizes: list[int]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{}", r"name: Field required"),
        ("[]", r"\(it: "),
        ("null", r"\(it: "),
        ('{"name": 3, "share": 1, "sizes": []}', r"name: Input should be a valid string"),
        ('{"name": "a", "share": "1", "sizes": []}', r"share: Input should be a valid number"),
        ('{"name": "a", "share": NaN, "sizes": []}', r"NaN is no number"),
        ('{"name": "a", "share": 0.5, "sizes": [1, 2.5]}', r"sizes\.1: "),
    ],
)
def test_json_of_another_shape_is_named_and_nothing_is_converted(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "shape.json"
    path.write_text(content)
    with pytest.raises(RunError, match=rf"shape\.json: not .*{told}.*Draw it again\."):
        read_as(path, Shape, "Draw it again.")
    write_json(path, {"name": "a", "share": 1, "sizes": [2]})
    assert read_as(path, Shape) == Shape("a", 1.0, [2])


def test_an_error_of_the_system_names_its_path(tmp_path: Path) -> None:
    said = str(as_storage_error(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a"))))
    assert said.startswith(f"{tmp_path / 'a'}: Read-only file system. Choose a folder")
    assert "bytes are free" in str(as_storage_error(OSError(errno.ENOSPC, "No space left on device")))
