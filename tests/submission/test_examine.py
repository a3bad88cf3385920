"""`make validate`: each fault is found with its line; a brute-force judge of whole files agrees on any of them."""

import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saltern import rle
from saltern.config import ConfigError, SubmissionConfig, compose_config
from saltern.errors import DataError
from saltern.pipeline import validate_submission
from saltern.submission.examine import Examination, Expected, examine

LACKS = (None, "error", "missing ids")
FORMS = {
    "tgs": SubmissionConfig(),
    "siim": SubmissionConfig(index_base=0, relative=True, empty="-1"),
    "instances": SubmissionConfig(rows="instance", index_base=0, suffix=".x"),
}
SIZE = (3, 2)


def look(tmp_path: Path, content: str | bytes, form: SubmissionConfig = FORMS["tgs"], most: int = 10) -> Examination:
    path = tmp_path / "s.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return examine(path, Expected(form, ["a", "b"], size=SIZE), most)


def told(found: Examination) -> list[tuple[int | None, str, str]]:
    return [(item.line, item.severity, item.kind) for item in found.findings.in_order()]


GOOD = "id,rle_mask\na,1 2\nb,\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD, []),
        ("id,rle_mask\nb,\na,1 2\n", []),
        ("id,rle_mask\na,1 2\n", [LACKS]),
        (GOOD + "c,\n", [(4, "error", "foreign ids")]),
        (GOOD + "a,\n", [(4, "error", "duplicate ids")]),
        ("id,rle_mask\na,1 2 3\nb,\n", [(2, "error", "odd counts")]),
        ("id,rle_mask\na,1 0\nb,\n", [(2, "error", "zero lengths")]),
        ("id,rle_mask\na,1 -2\nb,\n", [(2, "error", "negative numbers")]),
        ("id,rle_mask\na,0 2\nb,\n", [(2, "error", "starts before the first pixel")]),
        ("id,rle_mask\na,1 3 2 2\nb,\n", [(2, "error", "overlapping runs")]),
        ("id,rle_mask\na,4 2 1 1\nb,\n", [(2, "error", "unsorted runs")]),
        ("id,rle_mask\na,5 3\nb,\n", [(2, "error", "runs past the end")]),
        ("id,rle_mask\na,99999999999999999999 1\nb,\n", [(2, "error", "runs past the end")]),
        ("id,rle_mask\na,NaN\nb,\n", [(2, "error", "missing masks")]),
        ("id,rle_mask\na,x y\nb,\n", [(2, "error", "cells that hold no numbers")]),
        ("id,rle_mask\na,1 2\n,\nb,\n", [(3, "error", "missing names")]),
        ("id,rle_mask\na,1 2\n\nb,\n", [(3, "warning", "blank lines")]),
        ("id,rle_mask\r\na,1 2\r\nb,\n", [(1, "warning", "Windows line ends"), (2, "warning", "Windows line ends")]),
        ("id,rle_mask\ra,1 2\rb,\r", [(3, "warning", "old line ends")]),
        (b"\xef\xbb\xbf" + GOOD.encode(), [(1, "warning", "byte-order marks")]),
        ('id,rle_mask\n"a","1 2"\nb,\n', [(2, "warning", "quoted cells")]),
        ('id,rle_mask\na,"1 2\nb,\n', [(2, "error", "broken quotes"), LACKS, (None, "error", "empty files")]),
        ("id;rle_mask\na;1 2\nb;\n", [(1, "error", "delimiters")]),
        ("rle_mask,id\n1 2,a\n,b\n", [(1, "error", "headers")]),
        ("id,mask\na,1 2\nb,\n", [(1, "error", "headers")]),
        ("a,1 2\nb,\n", [(1, "error", "headers")]),
        ("n,id,rle_mask\n0,a,1 2\n1,b,\n", [(1, "error", "headers")]),
        ("x\na\n", [(1, "error", "headers")]),
        ("id,rle_mask\na,1 2,\nb,\n", [(2, "error", "torn rows"), LACKS]),
        (
            b"id,rle_mask\na,1 2\nb\xff,\n",
            [(3, "error", "lines that are not UTF-8"), (3, "error", "foreign ids"), LACKS],
        ),
        (b"id,rle_mask\na,1 2\0\nb,\n", [(2, "error", "zero bytes"), (2, "error", "cells that hold no numbers")]),
        ("id,rle_mask\nb,\na,1 2", [(3, "warning", "cut files")]),
        ("", [(1, "error", "headers")]),
    ],
)
def test_each_fault_is_found_on_its_line(
    tmp_path: Path, content: str | bytes, expected: list[tuple[int | None, str, str]]
) -> None:
    assert list(dict.fromkeys(told(look(tmp_path, content)))) == expected


def test_one_kind_does_not_hide_the_others_and_is_counted(tmp_path: Path) -> None:
    found = look(tmp_path, "id,rle_mask\n" + "x,1\n" * 50 + "a,1 2\nb,9 9\n", most=3)
    assert [item.kind for item in found.findings.in_order()].count("odd counts") == 3
    assert (53, "error", "runs past the end") in told(found)
    assert "47 more odd counts (50 in all)" in found.findings.unshown()
    assert not found.is_sound


def test_an_id_with_blanks_around_is_told_what_it_may_mean(tmp_path: Path) -> None:
    text = next(item.text for item in look(tmp_path, "id,rle_mask\n a,1 2\nb,\n").findings.kept)
    assert "' a' is not asked for; is 'a' meant?" in text


def pixels_in(cell: str, form: SubmissionConfig) -> list[int] | None:
    """The pixels that a cell names, in its order; None for what is no run lengths."""
    if cell.strip() == form.empty:
        return []
    words, pixels, end = cell.split(), list[int](), 0
    if not words or len(words) % 2 or not all(word.isdigit() for word in words) or "0" in words[1::2]:
        return None
    for number, (start, length) in enumerate(zip(map(int, words[::2]), map(int, words[1::2]), strict=True)):
        base = form.index_base if number == 0 or not form.relative else 0
        begin = start - base + (end if form.relative else 0)
        end = begin + length
        pixels += range(begin, end)
    good = pixels == sorted(set(pixels)) and pixels[0] >= 0 and pixels[-1] < SIZE[0] * SIZE[1]
    return pixels if good else None


def judge(content: str, form: SubmissionConfig) -> bool:
    """Whether a file of two columns is right, pixel by pixel."""
    seen: dict[str, list[list[int]]] = {}
    for name, cell in list(csv.reader(io.StringIO(content)))[1:]:
        pixels = pixels_in(cell, form)
        if pixels is None or not name.endswith(form.suffix):
            return False
        seen.setdefault(name.removesuffix(form.suffix), []).append(pixels)
    alone = all(len(parts) == 1 or (form.rows == "instance" and all(parts)) for parts in seen.values())
    apart = all(sum(map(len, parts)) == len(set().union(*parts)) for parts in seen.values())
    return set(seen) == {"a", "b"} and alone and apart


numbers = st.lists(st.integers(0, 4), max_size=6).map(lambda found: " ".join(map(str, found)))
cells = st.one_of(numbers, st.sampled_from(["", "-1", "1 2", "0 1", "2 1 4 2", "-2 1", "1 1.5", "nan"]))
ids = st.sampled_from(["a", "b", "a.x", "b.x", "a.x", "b.x", "c", "a ", ""])
rows = st.lists(st.tuples(ids, cells), max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400)
@given(st.sampled_from(sorted(FORMS)), rows, st.booleans())
def test_a_brute_force_judge_agrees(tmp_path: Path, name: str, rows: list[tuple[str, str]], complete: bool) -> None:
    form = FORMS[name]
    if complete:  # else nearly every file lacks an id
        rows = [(f"{'ab'[k % 2]}{form.suffix}", cell) for k, (_, cell) in enumerate(rows)]
    content = "id,rle_mask\n" + "".join(f"{key},{cell}\n" for key, cell in rows)
    assert look(tmp_path, content, form).is_sound == judge(content, form), content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_examined_or_refused_and_never_sound(tmp_path: Path, noise: bytes, headed: bool) -> None:
    content = (b"id,rle_mask\n" if headed else b"") + noise
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        with pytest.raises(DataError, match="UTF-16"):
            look(tmp_path, content)
    else:
        found = look(tmp_path, content)
        assert not found.is_sound or {b"a", b"b"} <= {line.split(b",")[0].strip(b'"') for line in noise.splitlines()}


def test_eighteen_thousand_rows_take_seconds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = [rle.encode((rng.random((101, 101)) < 0.5).astype(np.uint8)) for _ in range(3)]
    names = [f"id{number}" for number in range(18_000)]
    lines = [f"{name},{masks[k % 3][:2000].rpartition(' ')[0] if k % 2 else ''}" for k, name in enumerate(names)]
    path = tmp_path / "s.csv"
    path.write_text("id,rle_mask\n" + "\n".join(lines) + "\n")
    began = time.perf_counter()
    found = examine(path, Expected(SubmissionConfig(), names, size=(101, 101)))
    assert (found.rows, found.empty) == (18_000, 9_000)
    assert time.perf_counter() - began < 30


def test_a_file_is_held_against_the_competitions_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sample.csv").write_text("img,rle_mask\na.jpg,1 1\nb.jpg,1 1\n")
    (tmp_path / "s.csv").write_text("img,rle_mask\na.jpg,1 99\n")
    given = [f"submission={tmp_path}/s.csv", "format=carvana"]
    found = validate_submission(compose_config("validate", given))
    assert found.is_sound
    assert "no ids are known" in caplog.text
    assert "sizes of 1 rows are unknown" in caplog.text
    sample = f"sample_submission={tmp_path}/sample.csv"
    found = validate_submission(compose_config("validate", [*given, sample, "size=[5,5]", "format.suffix=.jpg"]))
    assert [kind for _, _, kind in told(found)] == ["runs past the end", "missing ids"]


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["name=x", "size=[2,2]"], "size=.*null, since name=x gives it"),
        (["name=x", "format=siim"], "format=.*a form of its own"),
        (["size=[2]"], "size=.*both positive"),
        (["size=[2,2]", "images=."], "images="),
        (["root=."], "root="),
        (["most=0"], "most=0"),
    ],
)
def test_what_contradicts_itself_is_refused(overrides: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        compose_config("validate", ["submission=s.csv", *overrides])
