"""What the page of a run shows of its ensemble's members and of the test images."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_members import ensemble, reopened

from saltern import pipeline
from saltern.inference.decide import NEUTRAL, decide, read_decision
from saltern.inference.store import ProbStore
from saltern.pipeline import page_material
from saltern.report.survey import disagreement


def page_data(place: Path, name: str) -> dict[str, Any]:
    text = (place / "outputs" / name / "report.html").read_text()
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', text, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_an_ensembles_page_tells_how_far_its_members_are_apart(place: Path) -> None:
    job = ensemble(place, "a", "c", insist="true")
    columns = page_data(place, "e")["columns"]
    threshold = np.float32(read_decision(job.run.decision).threshold)
    first, second = (ProbStore(place / "outputs" / name / "oof") for name in "ac")
    expected = [disagreement([store[name] > threshold for store in (first, second)]) for name in columns["id"]]
    assert columns["disagreement"] == pytest.approx(expected, abs=1e-6)
    assert max(expected) > 0
    shutil.rmtree(place / "outputs/c/oof")
    members, note = page_material._members(job)
    assert members is None
    assert "a member are not there any more" in note


def test_a_single_run_says_why_nobody_disagrees_and_looks_at_the_test(place: Path) -> None:
    assert page_data(place, "a")["columns"]["disagreement"] is None
    text = (place / "outputs/a/report.html").read_text()
    assert "only the mean is stored" in text
    assert "Out of fold 12 images, of the test all 3" in text
    job = reopened(place, "a")
    found = page_material.look_at_test(job, NEUTRAL)
    store = ProbStore(job.run.test)
    ids = list(job.material.dataset.test["id"])
    assert found.of == len(found.table) == 3
    assert found.table["share"].tolist() == pytest.approx([decide(store[name], NEUTRAL).mean() for name in ids])
    image = job.material.test.image(1)
    assert found.table["brightness"][1] == pytest.approx(image.astype(float).mean(axis=2).mean(), rel=1e-4)


def test_test_images_whose_probabilities_are_stale_are_looked_at_without(place: Path) -> None:
    job = reopened(place, "a")
    job.run.seal("predict").unlink()
    found = page_material.look_at_test(job, NEUTRAL)
    assert found.table["share"].isna().all()
    pipeline.write_report(job)
    assert "No test probabilities are stored" in job.run.report.read_text()
