"""A network with every head, from training to a proven submission, by the scripts as a user calls them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_end_to_end import script, succeed

from saltern import rle
from saltern.inference.store import ProbStore

TINY = [
    "dataset.train=12",
    "dataset.test=4",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=mobilenet_v2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=3",
    "trainer.accelerator=cpu",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
]
HEADS = ["model.heads.empty=0.1", "model.heads.hypercolumn=true", "model.heads.deep_supervision=0.1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run `a`, whose networks have every head."""
    folder = tmp_path_factory.mktemp("place")
    succeed("train", *TINY, *HEADS, "name=a", cwd=folder)
    return folder


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def masks(run: Path, place: Path) -> dict[str, np.ndarray]:
    """Those of the submission, which must have the ids of the sample submission."""
    submission = pd.read_csv(run / "submission.csv", dtype=str, keep_default_na=False)
    expected = pd.read_csv(place / "data/sample/sample_submission.csv", dtype=str, keep_default_na=False)
    assert submission["id"].tolist() == expected["id"].tolist()
    return {name: rle.decode(text, (32, 32)) for name, text in submission.itertuples(index=False)}


def masks_by_force(run: Path) -> dict[str, np.ndarray]:
    """What the decision makes of the stored predictions."""
    decision, store = read(run / "decision.json"), ProbStore(run / "test")
    found = {}
    for name in store:
        mask = store[name].astype(np.float32) > np.float32(decision["threshold"])
        keep = mask.sum() >= decision["min_area"] and store[name].max() >= (decision["empty_gate"] or 0)
        found[name] = mask & keep & (np.float32(store.presence(name)) >= np.float32(decision["presence_gate"] or 0))
    return found


def equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return sorted(first) == sorted(second) and all(np.array_equal(first[name], second[name]) for name in first)


def test_presence_goes_all_the_way_into_decision_scores_page_and_submission(place: Path) -> None:
    run = place / "outputs/a"
    metrics = pd.read_csv(run / "fold_0/metrics.csv")
    assert (metrics[["loss_empty", "loss_deep_supervision"]] > 0).all(axis=None)
    assert set(read(run / "decision.json")) == {"threshold", "min_area", "empty_gate", "presence_gate"}
    for kind, count in (("oof", 12), ("test", 4)):
        store = ProbStore(run / kind)
        assert len(store) == count
        assert len({store.presence(name) for name in store}) == count
    assert 0 <= read(run / "scores.json")["pooled"]["presence_auc"] <= 1
    assert "whether an image holds any foreground" in (run / "report.html").read_text()
    assert equal(masks(run, place), masks_by_force(run))


def test_a_gate_set_by_hand_empties_the_images_below_it(place: Path) -> None:
    shutil.copytree(place / "outputs/a", place / "outputs/edited")
    run = place / "outputs/edited"
    store = ProbStore(run / "test")
    middle = float(np.median([store.presence(name) for name in store]))
    decision = {"threshold": 0.01, "min_area": 0, "empty_gate": None, "presence_gate": middle}
    (run / "decision.json").write_text(json.dumps(decision))
    said = succeed("submit", "name=edited", cwd=place)
    assert "decision.json was changed by another hand" in said
    assert sorted(bool(mask.any()) for mask in masks(run, place).values()) == [False, False, True, True]
    assert equal(masks(run, place), masks_by_force(run))


def test_an_ensemble_has_presence_where_every_run_has_it(place: Path) -> None:
    shutil.copytree(place / "outputs/a", place / "outputs/b")
    succeed("ensemble", "name=both", "runs=[a,b]", cwd=place)
    both, alone = ProbStore(place / "outputs/both/oof"), ProbStore(place / "outputs/a/oof")
    assert {name: both.presence(name) for name in both} == {name: alone.presence(name) for name in alone}
    assert "presence_gate" in read(place / "outputs/both/decision.json")


def test_a_run_without_presence_mixes_with_one_that_has_it_and_takes_no_gate(place: Path) -> None:
    succeed("train", *TINY, "name=plain", cwd=place)
    run = place / "outputs/plain"
    assert set(read(run / "decision.json")) == {"threshold", "min_area", "empty_gate"}
    assert "presence_auc" not in read(run / "scores.json")["pooled"]
    said = succeed("ensemble", "name=mixed", "runs=[a,plain]", cwd=place)
    assert "outputs/plain/oof: stores no presence, so the mean has none" in " ".join(said.split())
    assert set(read(place / "outputs/mixed/decision.json")) == {"threshold", "min_area", "empty_gate"}
    succeed("compare", "name=ab", "runs=[plain,a]", cwd=place)
    (run / "decision.json").write_text(json.dumps({**read(run / "decision.json"), "presence_gate": 0.3}))
    refused = script("submit", "name=plain", cwd=place)
    assert refused.returncode != 0
    assert "presence_gate=0.3" in refused.stderr
    assert "this run stores none" in " ".join(refused.stderr.split())
