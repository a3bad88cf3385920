"""Ensembles from the command to the page: fitted, calibrated, voting; what was stored against its members' files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from small_members import ensemble, reopened

from saltern import pipeline
from saltern.config import ConfigError
from saltern.errors import RunError
from saltern.files import write_json
from saltern.inference.decide import decide, decision_of, read_decision
from saltern.inference.store import ProbStore
from saltern.pipeline.blending import refuse_seen


def seal_of(place: Path, name: str = "e") -> dict[str, Any]:
    return json.loads((place / "outputs" / name / "ensemble.json").read_text())


def mean_by_hand(stores: list[ProbStore], name: str, weights: list[float]) -> np.ndarray:
    probs = np.stack([store[name].astype(np.float64) for store in stores])
    return np.tensordot(np.array(weights) / sum(weights), probs, 1)


def test_fitted_weights_are_stored_by_fold_and_the_page_says_what_they_gain(place: Path) -> None:
    job = ensemble(place, "a", "c", weights="fitted", insist=True)
    seal, folds = seal_of(place), pd.read_csv(place / "outputs/a/folds.csv", dtype={"id": str})
    assert sum(seal["weights"]) == pytest.approx(1)
    assert min(seal["weights"]) >= 0
    assert seal["asked"] == {"weights": "fitted", "calibrate": "none"}
    stores = {kind: [ProbStore(place / "outputs" / run / kind) for run in "ac"] for kind in ("oof", "test")}
    own = {kind: ProbStore(place / "outputs/e" / kind) for kind in ("oof", "test")}
    for name, fold in zip(folds["id"], folds["fold"], strict=True):
        weights = seal["nested"]["parts"][str(fold)]["weights"]
        np.testing.assert_allclose(own["oof"][name], mean_by_hand(stores["oof"], name, weights), atol=6e-4)
    for name in own["test"]:
        np.testing.assert_allclose(own["test"][name], mean_by_hand(stores["test"], name, seal["weights"]), atol=6e-4)
    scores = json.loads((place / "outputs/e/scores.json").read_text())
    assert scores["nested"]["scores"] == pytest.approx(seal["nested"]["scores"])
    best = max(seal["nested"]["singles"], key=seal["nested"]["singles"].get)
    tuned_for = seal["nested"]["tuned_for"]
    difference = seal["nested"]["scores"][tuned_for] - seal["nested"]["singles"][best]
    assert (seal["gain"]["over"], seal["gain"]["mean"]) == (best, pytest.approx(difference))
    assert seal["curve"][0]["added"] == best
    page = job.run.report.read_text()
    for told in ("The members", "the best single run", "Weights are the best of 21 candidates", "one more each time"):
        assert told in page, told
    before = job.run.ensemble.stat().st_mtime_ns
    ensemble(place, "a", "c", weights="fitted", insist=True)
    assert job.run.ensemble.stat().st_mtime_ns == before, "nothing is fitted twice"
    with pytest.raises(RunError, match="exists already"):
        ensemble(place, "a", "c", insist=True)


def test_a_vote_is_of_masks_whose_decisions_were_chosen_elsewhere(place: Path) -> None:
    ensemble(place, "a", "c", how="vote", weights="[1,3]", insist=True)
    seal, own = seal_of(place), ProbStore(place / "outputs/e/test")
    stores = [ProbStore(place / "outputs" / run / "test") for run in "ac"]
    assert len(seal["votes"]) == 2
    for name in own:
        masks = [decide(store[name], decision_of(vote)) for store, vote in zip(stores, seal["votes"], strict=True)]
        np.testing.assert_allclose(own[name], (masks[0] + 3.0 * masks[1]) / 4, atol=5e-4)
    assert "vote of the masks" in (place / "outputs/e/report.html").read_text()


def test_calibrated_logits_are_averaged_and_both_are_said(place: Path) -> None:
    job = ensemble(place, "a", "b", how="logits", calibrate="auto")
    seal = seal_of(place)
    assert seal["how"] == "logits"
    assert "uncalibrated" in seal["nested"]
    assert seal["correlation"] == [[pytest.approx(1), pytest.approx(1)]] * 2, "b is a copy of a"
    assert "Maps of the logits" in job.run.report.read_text()
    assert seal["gain"]["over"] == "a"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"weights": "[1,-1]"}, r"weights=\[1, -1\]: expected numbers of 0 or more"),
        ({"weights": "[0,0]"}, r"weights=\[0, 0\]: expected at least one above 0"),
        ({"weights": "[1,1,1]"}, r"3 numbers; expected one for each of \['a', 'b'\]"),
        ({"weights": "[1,.nan]"}, "expected numbers of 0 or more"),
        ({"weights": "[1,true]"}, "expected numbers of 0 or more"),
        ({"weights": "3"}, "expected numbers of 0 or more"),
        ({"weights": "fited"}, "unknown word 'fited'. Did you mean 'fitted'"),
        ({"how": "median"}, "how: unknown value 'median'"),
        ({"calibrate": "always"}, "calibrate: unknown value 'always'"),
        ({"how": "vote", "calibrate": "auto"}, "expected none where how=vote"),
    ],
)
def test_settings_that_make_no_mean_are_refused(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ensemble(tmp_path, "a", "b", **settings)


def test_members_that_are_gone_exchanged_or_seen_are_refused_by_path(place: Path) -> None:
    with pytest.raises(RunError, match=r"outputs/nowhere"):
        ensemble(place, "a", "nowhere", weights="fitted")
    shard = next((place / "outputs/b/oof").glob("*.safetensors"))
    kept = shard.read_bytes()
    shard.write_bytes((place / "outputs/c/oof" / shard.name).read_bytes())
    with pytest.raises(RunError, match=rf"b.*{shard.name} was changed by another hand"):
        ensemble(place, "a", "b", weights="fitted")
    shard.unlink()
    with pytest.raises(RunError, match=rf"b.*{shard.name} is gone"):
        ensemble(place, "a", "b")
    shard.write_bytes(kept)
    assert not (place / "outputs/e").exists()
    member = reopened(place, "b")
    refuse_seen([reopened(place, "a"), member])
    table = member.folds.copy()
    table.loc[3, "fold"] = -1
    member.__dict__["folds"] = table
    with pytest.raises(RunError, match=rf"1 of the images .* such as '{table['id'][3]}'.*Give weights=equal"):
        refuse_seen([member])


def test_candidates_of_the_config_reach_the_decision_the_submission_and_the_page(place: Path) -> None:
    config = place / "outputs/a/config.yaml"
    content = yaml.safe_load(config.read_text())
    shapes = {"fill_holes": [0, 9], "min_component": [0], "largest": [1]}
    content["inference"] |= {"thresholds": [0.45, 0.5], "tune": shapes}
    config.write_text(yaml.safe_dump(content))
    job = reopened(place, "a")
    pipeline.finish_run(job)
    decision = read_decision(job.run.decision)
    assert decision.largest == json.loads(job.run.decision.read_text())["largest"] == 1
    assert "the largest component is kept" in job.run.report.read_text()
    submitted = pd.read_csv(job.run.submission).set_index("id")["rle_mask"].fillna("")
    store = ProbStore(job.run.test)
    for name in store:
        runs = submitted[name].split()
        assert sum(map(int, runs[1::2])) == decide(store[name], decision).sum()


def test_an_ensemble_that_an_earlier_version_began_and_sealed_is_read_and_goes_on(place: Path) -> None:
    job = ensemble(place, "a", "b", weights="[2,1]")
    assert json.loads(job.run.environment.read_text())["ensemble"] == {"runs": ["a", "b"], "weights": [2.0, 1.0]}
    kept = ("files", "made_of", "runs", "weights", "folds", "mixed_folds", "fold_kinds", "other_images")
    content = seal_of(place)
    write_json(job.run.ensemble, {key: content[key] for key in kept})
    assert reopened(place, "e").life.ensemble().how == "probs"
    ensemble(place, "a", "b", weights="[2,1]")
    assert seal_of(place) == content
