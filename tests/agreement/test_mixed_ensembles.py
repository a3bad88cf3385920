"""Runs whose folds divide the images differently: refused, or averaged with a word at the top of the page."""

import io
import json
import os
import runpy
import sys
from contextlib import redirect_stdout
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_members import compare, ensemble, reopened, train

from saltern.errors import RunError
from saltern.files import write_json
from saltern.pipeline.mixture import divide_alike
from saltern.report.cautions import cautions_of

SCRIPTS = Path(__file__).parents[2] / "scripts"


def split(folds: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{row:02}" for row in range(len(folds))], "fold": folds})


def alike_by_force(first: list[int], other: list[int]) -> bool:
    """Every two images are validated together in both or in none, and the same ones are never validated."""
    together = all((first[i] == first[j]) == (other[i] == other[j]) for i, j in combinations(range(len(first)), 2))
    return together and [fold == -1 for fold in first] == [fold == -1 for fold in other]


def test_splits_divide_alike_where_the_same_images_lie_together() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        first, other = (rng.integers(-1, 2, 3).tolist() for _ in range(2))
        found.append(divide_alike(split(first), split(other).sample(frac=1, random_state=1)))
        assert found[-1] == alike_by_force(first, other), (first, other)
    assert 5 < sum(found) < 200
    assert divide_alike(split([0, 1, 2, 1]), split([2, 0, 1, 0])), "the folds' numbers are no matter"
    assert not divide_alike(split([0, 1]), split([0, 1, 1])), "other images"
    assert divide_alike(split([0]), split([0])), "a single image"


def test_runs_of_other_folds_are_refused_by_run_kind_and_reason(place: Path) -> None:
    with pytest.raises(RunError, match="divide the images differently") as refused:
        ensemble(place, "a", "c")
    said = str(refused.value)
    assert "(a: stratified, c: stratified_group)" in said
    assert "nested cannot be trusted" in said
    assert "Networks of a may have trained on neighbours or look-alikes" in said
    assert "insist=true" in said
    assert not (place / "outputs/e").exists()


def test_insisted_the_seal_the_top_of_the_page_and_the_console_say_so(place: Path) -> None:
    out, before, folder = io.StringIO(), sys.argv, Path.cwd()
    sys.path.insert(0, str(SCRIPTS))
    sys.argv = ["ensemble.py", "name=e", "runs=[a,c]", "insist=true"]
    try:
        os.chdir(place)
        with redirect_stdout(out):
            runpy.run_path(str(SCRIPTS / "ensemble.py"), run_name="__main__")
    finally:
        os.chdir(folder)
        sys.path.remove(str(SCRIPTS))
        sys.argv = before
    seal = json.loads((place / "outputs/e/ensemble.json").read_text())
    assert seal["mixed_folds"] is True
    assert seal["fold_kinds"] == {"a": "stratified", "c": "stratified_group"}
    told = "Mixed folds: the runs divide the images differently (a: stratified, c: stratified_group)."
    assert told in (place / "outputs/e/report.html").read_text().split("<table")[0]
    said = out.getvalue()
    assert said.index(told) < said.index("e: scores")
    assert "trust this one" not in said
    with pytest.raises(RunError, match=r"\(e: mixed, a: stratified\)"):
        ensemble(place, "e", "a", name="of_the_mean")


def test_runs_of_equal_folds_are_not_mixed_whatever_their_kinds_are_called(place: Path) -> None:
    train(place, "d", "folds=file", f"folds.file={place / 'outputs/c/folds.csv'}")
    assert [reopened(place, name).config.folds.kind for name in "cd"] == ["stratified_group", "file"]
    job = ensemble(place, "c", "d")
    assert json.loads(job.run.ensemble.read_text())["mixed_folds"] is False
    assert cautions_of(job.run) == []
    page, _ = compare(place, "c", "d")
    assert "different rules" not in page.read_text()


def test_an_ensemble_of_an_earlier_version_is_read_with_a_word_and_asked_again(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = ensemble(place, "a", "b")
    content = json.loads(job.run.ensemble.read_text())
    write_json(job.run.ensemble, {key: content[key] for key in ("files", "made_of", "runs", "weights", "folds")})
    (told,) = cautions_of(job.run)
    assert "An earlier version averaged these runs" in told
    caplog.clear()
    again = ensemble(place, "a", "b")
    assert json.loads(again.run.ensemble.read_text()) == content
    assert cautions_of(again.run) == []


def test_a_comparison_of_groups_with_none_says_so_at_its_top(place: Path) -> None:
    page, (found,) = compare(place, "a", "c")
    assert not found.same_folds
    top = page.read_text().split("<h2")[0]
    assert "The runs keep images together by different rules (a: stratified, c: stratified_group)." in top
    assert "divide the images into different folds" in page.read_text()
