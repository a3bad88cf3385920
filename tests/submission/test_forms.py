"""Every form under configs/submission: written by us, read by a plain decoder, compared pixel by pixel."""

import csv
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hydra.errors import HydraException
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saltern.config import CONFIG_DIR, compose_config, contradictions, explain
from saltern.config.schema import SubmissionConfig
from saltern.errors import ConfigError, DataError, RunError
from saltern.rle import RleError
from saltern.submission import rows as submission_rows
from saltern.submission import table

FORMS = sorted(path.stem for path in (CONFIG_DIR / "submission").glob("*.yaml"))
INSTANCES = SubmissionConfig(rows="instance")


def form_of(name: str) -> SubmissionConfig:
    return compose_config("run", [f"submission={name}", "name=x"]).submission


def walk(size: tuple[int, int], order: str) -> list[tuple[int, int]]:
    height, width = size
    if order == "row":
        return list(itertools.product(range(height), range(width)))
    return [(row, column) for column in range(width) for row in range(height)]


def pixels_of(text: str, size: tuple[int, int], form: SubmissionConfig) -> set[tuple[int, int]]:
    """The pixels that run lengths name, one by one."""
    if text == form.empty:
        return set()
    numbers, places, end = [int(word) for word in text.split()], walk(size, form.order), 0
    found: set[tuple[int, int]] = set()
    for number, (start, length) in enumerate(zip(numbers[::2], numbers[1::2], strict=True)):
        counted_from = form.index_base if number == 0 or not form.relative else 0
        begin = start - counted_from + (end if form.relative else 0)
        end = begin + length
        assert length > 0
        assert not found & set(places[begin:end])
        found |= set(places[begin:end])
    return found


def components(mask: np.ndarray, connectivity: int) -> list[frozenset[tuple[int, int]]]:
    """By spreading from pixel to pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        part, fresh = set(), [left.pop()]
        while fresh:
            y, x = fresh.pop()
            part.add((y, x))
            for dy, dx in itertools.product((-1, 0, 1), repeat=2):
                near = (y + dy, x + dx)
                if near in left and (connectivity == 8 or abs(dy) + abs(dx) == 1):
                    left.remove(near)
                    fresh.append(near)
        found.append(frozenset(part))
    return found


def rows_in(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="") as stream:
        header, *rows = csv.reader(stream)
    return header, rows


@pytest.mark.parametrize("name", FORMS)
def test_what_a_form_writes_is_what_a_plain_decoder_reads(name: str, tmp_path: Path) -> None:
    form, rng = form_of(name), np.random.default_rng(0)
    masks = {f"i{number}": (rng.random((7, 5)) < rng.choice([0, 0.3, 1])).astype(np.uint8) for number in range(12)}
    path = tmp_path / "s.csv"
    proof = table.write_submission(path, masks.items(), list(masks), dict.fromkeys(masks, (7, 5)), form)
    header, rows = rows_in(path)
    assert set(header) == {form.id_column, form.mask_column, *form.constants}
    texts: dict[str, list[str]] = {}
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        key = cells[form.id_column]
        assert key.endswith(form.suffix)
        texts.setdefault(key[: len(key) - len(form.suffix)], []).append(cells[form.mask_column])
        assert {column: cells[column] for column in form.constants} == form.constants
    assert list(texts) == list(masks)
    for key, mask in masks.items():
        parts = [pixels_of(text, (7, 5), form) for text in texts[key]]
        if form.rows == "instance" and mask.any():
            assert sorted(map(sorted, parts)) == sorted(map(sorted, components(mask, form.connectivity)))
        else:
            assert parts == [{(int(y), int(x)) for y, x in np.argwhere(mask)}]
    assert (proof.rows, proof.empty) == (len(rows), sum(not mask.any() for mask in masks.values()))
    counts = table.count_submission(path, path, dict.fromkeys(masks, (7, 5)), form).counts
    assert counts[:, 0].tolist() == [mask.sum() for mask in masks.values()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(st.integers(1, 6), st.integers(1, 6), st.data(), st.sampled_from([4, 8]), st.sampled_from(["row", "column"]))
def test_instances_are_the_components_of_any_mask(
    height: int, width: int, data: st.DataObject, connectivity: int, order: str
) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits, np.uint8).reshape(height, width)
    form = SubmissionConfig(rows="instance", connectivity=connectivity, order=order)
    texts = submission_rows.texts_of(mask, form)
    parts = [pixels_of(text, (height, width), form) for text in texts if text]
    assert sorted(map(sorted, parts)) == sorted(map(sorted, components(mask, connectivity)))


def test_two_components_that_follow_on_each_other_in_the_count_are_two_rows(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [0, 0], [1, 0]], np.uint8)  # the foot of one column, the head of the next
    table.write_submission(tmp_path / "s.csv", [("a", mask)], ["a"], {"a": (3, 2)}, INSTANCES)
    assert (tmp_path / "s.csv").read_text() == "id,rle_mask\na,3 1\na,4 1\n"


def test_constants_know_the_size_and_stand_where_they_are_asked_for(tmp_path: Path) -> None:
    form = SubmissionConfig(
        constants={"height": "{height}", "width": "{width}", "usage": "Public"},
        columns=["id", "height", "width", "rle_mask", "usage"],
        suffix=".png",
    )
    mask = np.ones((2, 3), np.uint8)
    table.write_submission(tmp_path / "s.csv", [("a", mask)], ["a"], {"a": (2, 3)}, form)
    assert (tmp_path / "s.csv").read_text() == "id,height,width,rle_mask,usage\na.png,2,3,1 6,Public\n"
    (tmp_path / "t.csv").write_text("id,height,width,rle_mask,usage\na,2,3,1 6,Public\nb.png,2,3,1 6,Private\n")
    with pytest.raises(DataError, match=r"(?s)line 2: id 'a' does not end in '.png'.*line 3: usage is 'Private'"):
        table.read_submission(tmp_path / "t.csv", form)


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        (["1 2 4 1"], "its 1 rows are not the 2 components"),
        (["1 1", "2 1", "4 1"], "its 3 rows are not the 2 components"),
        (["1 2", "2 1", "4 1"], "pixel 1 .* is in two of its 3 rows"),
        (["1 2", ""], "one of them is an empty mask"),
        (["1 2"], "does not give back its mask"),
    ],
)
def test_rows_that_are_not_the_components_are_found_by_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], complaint: str
) -> None:
    mask = np.array([[1], [1], [0], [1]], np.uint8)
    monkeypatch.setattr(table, "texts_of", lambda *_: texts)
    with pytest.raises(RunError, match=complaint):
        table.write_submission(tmp_path / "s.csv", [("a", mask)], ["a"], {"a": mask.shape}, INSTANCES)
    assert not list(tmp_path.iterdir())


def test_a_mask_that_is_no_mask_is_refused_before_it_is_taken_apart() -> None:
    with pytest.raises(RleError, match="values from"):
        submission_rows.texts_of(np.full((2, 2), 255, np.uint8), INSTANCES)


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("submission.rows=instances", "submission.rows: unknown value 'instances'. Did you mean 'instance'"),
        ("submission.connectivity=6", "submission.connectivity=6: expected 4 or 8"),
        ("submission.columns=[id]", "submission.columns=.*each of id, rle_mask once"),
        ("submission.constants={id: x}", "other columns than id"),
        ("submission.constants={h: '{depth}'}", "no other braces"),
        ("submission.competition=Tgs", "submission.competition='Tgs'"),
        ("submission=dsb", "submission=dsb: unknown submission 'dsb'. Did you mean 'dsb2018'"),
    ],
)
def test_a_form_that_cannot_be_is_refused_with_its_key(override: str, complaint: str) -> None:
    with pytest.raises((ConfigError, HydraException), match="submission") as caught:
        compose_config("run", [override, "name=x"])
    error = caught.value if isinstance(caught.value, ConfigError) else explain(caught.value)
    assert re.search(complaint, str(error))


def test_forms_are_the_same_for_a_run_and_for_a_file() -> None:
    for name in FORMS:
        found = compose_config("score", ["submission=s.csv", "truth=t.csv", f"format={name}"])
        assert found.format == form_of(name)
    changed = compose_config("score", ["submission=s", "truth=t", "format=siim", "format.constants={usage: Public}"])
    assert changed.format.constants == {"usage": "Public"}
    assert changed.format.relative


def test_the_competition_says_where_to_not_what_so_that_older_runs_go_on() -> None:
    tgs = compose_config("run", ["dataset=tgs", "name=x"])
    assert tgs.submission.competition == "tgs-salt-identification-challenge"
    assert compose_config("run", ["name=x"]).submission.competition is None
    assert contradictions(tgs, compose_config("run", ["dataset=tgs", "name=x", "submission.competition=null"])) == {}
