"""The network of all images: trained as long as the folds found best, one more that predicts, and never scored."""

import json
import logging
import math
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from saltern import pipeline
from saltern.config import ALL_IMAGES, ConfigError, PhaseConfig, compose_config
from saltern.engine.checkpoint import load_checkpoint
from saltern.engine.trainer import Trainer
from saltern.errors import DataError, RunError
from saltern.files import sha256
from saltern.inference.members import Images, Members
from saltern.inference.store import ProbStore
from saltern.pipeline.all_images import planned_lengths, typical_lengths

TINY = [
    "dataset.train=12",
    "dataset.test=3",
    "dataset.side=32",
    "folds.n=2",
    "model.encoder=mobilenet_v2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=4",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.ema_decay=0.5",
    "inference.views=[identity]",
    "schedule.phases.warm_up.epochs=2",
    "schedule.phases.fine_tune.epochs=2",
]


def job_of(place: Path, *overrides: str) -> pipeline.Job:
    """A run `a` below `place`, opened anew as every command does."""
    given = [*TINY, "name=a", f"outputs={place / 'outputs'}", f"dataset.root={place / 'data'}", *overrides]
    return pipeline.Job(compose_config("run", given), overrides=given)


def hashes(run: Path) -> dict[str, str]:
    """Every file of a run but what the clock changes."""
    return {
        path.relative_to(run).as_posix(): sha256(path)
        for path in sorted(run.rglob("*"))
        if path.is_file() and not {"tensorboard", ".held"} & set(path.parts) and path.suffix not in (".ckpt", ".html")
        if path.name not in ("environment.json", "metrics.csv", "report.json")
    }


@pytest.fixture(scope="module")
def folds_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place with the finished run `a` of two folds."""
    place = tmp_path_factory.mktemp("folds_only")
    pipeline.train(job_of(place))
    return place


def copied(source: Path, place: Path) -> Path:
    shutil.copytree(source, place, dirs_exist_ok=True)
    return place


@pytest.fixture(scope="module")
def with_all(folds_only: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, then `trainer.folds=[all]`."""
    place = copied(folds_only, tmp_path_factory.mktemp("with_all"))
    pipeline.train(job_of(place, "trainer.folds=[all]"))
    return place


@dataclass(frozen=True)
class Fold:
    best_epoch: int
    phase_best_epoch: dict[str, int]
    phase_epochs: dict[str, int]


def phases(a: int, b: int, **settings: Any) -> dict[str, PhaseConfig]:
    return {"a": PhaseConfig(epochs=a, loss={"bce": 1}, lr=1), "b": PhaseConfig(epochs=b, lr=1, **settings)}


PLAIN = (Fold(7, {"a": 3, "b": 7}, {"a": 5, "b": 5}), Fold(10, {"a": 2, "b": 10}, {"a": 5, "b": 5}))
"""The median of 7 and 10 is 8.5, so 9; that of 3 and 2 is 2.5, so 3."""
STOPPED = (Fold(6, {"a": 2, "b": 6}, {"a": 3, "b": 4}), Fold(7, {"a": 4, "b": 7}, {"a": 5, "b": 4}))
"""The best ones are the third and the second of `b`: 8 and 7 where `a` has 5, so 8; `a` took 3 and 5, so 4."""
EARLY = (Fold(2, {"a": 2}, {"a": 5, "b": 0}), Fold(4, {"a": 4, "b": 6}, {"a": 5, "b": 5}))
"""3 epochs, all of them of `a`."""


@pytest.mark.parametrize(
    ("folds", "settings", "expected"),
    [
        (PLAIN, {}, {"a": 5, "b": 4}),
        (PLAIN, {"start_from": "best"}, {"a": 3, "b": 4}),
        (PLAIN, {"snapshots": True}, {"a": 5, "b": 5}),
        (PLAIN[:1], {"start_from": "best"}, {"a": 3, "b": 2}),
        (STOPPED, {}, {"a": 4, "b": 3}),
        (STOPPED, {"start_from": "best"}, {"a": 3, "b": 3}),
        (EARLY, {"start_from": "best"}, {"a": 3, "b": 0}),
    ],
)
def test_the_epochs_are_the_median_of_the_folds_rounded_up(
    folds: tuple[Fold, ...], settings: dict[str, Any], expected: dict[str, int]
) -> None:
    assert typical_lengths(phases(5, 5, **settings), folds) == expected


@pytest.mark.parametrize("keep", ["last", "average"])
@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        (PLAIN, {"a": 5, "b": 5}),
        (STOPPED, {"a": 4, "b": math.ceil(statistics.median(fold.phase_epochs["b"] for fold in STOPPED))}),
    ],
)
def test_where_the_folds_keep_weights_of_the_end_it_is_followed_to_its_end(
    keep: str, folds: tuple[Fold, ...], expected: dict[str, int]
) -> None:
    assert typical_lengths(phases(5, 5), folds, keep) == expected


def test_folds_come_first(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no fold is trained\. First `make train name=a`"):
        pipeline.train(job_of(tmp_path, "trainer.folds=[all]"))


def test_a_learning_rate_that_follows_scores_is_refused(folds_only: Path) -> None:
    job = job_of(folds_only, "schedule.phases.fine_tune.lr_policy=plateau")
    with pytest.raises(ConfigError, match=r"fine_tune\.lr_policy=plateau follows validation scores"):
        planned_lengths(job)


def test_folds_of_an_earlier_version_are_named(folds_only: Path, tmp_path: Path) -> None:
    place = copied(folds_only, tmp_path)
    done = place / "outputs/a/fold_1/done.json"
    facts = json.loads(done.read_text())
    done.write_text(json.dumps({key: facts[key] for key in facts if key not in ("phase_epochs", "phase_best_epoch")}))
    with pytest.raises(RunError, match=r"fold_1/done\.json: does not say how many epochs"):
        planned_lengths(job_of(place))


def test_its_folder_tells_its_epochs_and_no_score(with_all: Path) -> None:
    run = with_all / "outputs/a"
    facts = [json.loads((run / f"fold_{number}/done.json").read_text()) for number in (0, 1)]
    expected = typical_lengths(job_of(with_all).config.schedule.phases, [Fold(**_learnt(fact)) for fact in facts])
    done = json.loads((run / "fold_all/done.json").read_text())
    assert done["phase_epochs"] == expected
    assert (done["epochs"], done["images"], done["folds"], done["ended"]) == (
        sum(expected.values()), 12, [0, 1], "schedule",
    )  # fmt: skip
    assert not any("best" in key or "monitor" in key for key in done)
    assert set(done["files"]) == {"fold_all/last.safetensors"}
    metrics = pd.read_csv(run / "fold_all/metrics.csv")
    assert len(metrics) == done["epochs"]
    assert not [name for name in metrics.columns if name.startswith("val_")]
    assert not list((run / "fold_all").glob("best*"))


def _learnt(fact: dict[str, Any]) -> dict[str, Any]:
    return {key: fact[key] for key in ("best_epoch", "phase_best_epoch", "phase_epochs")}


def test_the_folds_note_what_ended_them_and_when_they_were_best(with_all: Path) -> None:
    for number in (0, 1):
        fact = json.loads((with_all / f"outputs/a/fold_{number}/done.json").read_text())
        scores = pd.read_csv(with_all / f"outputs/a/fold_{number}/metrics.csv")
        assert fact["phase_epochs"] == {"warm_up": 2, "fine_tune": 2}
        assert fact["ended"] == "schedule"
        for name, rows in scores.groupby("phase"):
            assert fact["phase_best_epoch"][name] == rows["epoch"][rows[f"val_{fact['monitor']}"].idxmax()]


def test_it_never_counts_as_out_of_fold(folds_only: Path, with_all: Path) -> None:
    before, after = (hashes(place / "outputs/a") for place in (folds_only, with_all))
    same = ["decision.json", "oof_scores.csv", "folds.csv", *(name for name in before if name.startswith("oof/"))]
    assert len(same) > 4
    assert [name for name in same if before[name] != after[name]] == []
    assert {name for name in after if name.startswith("oof/")} == {name for name in before if name.startswith("oof/")}
    old, new = (json.loads((place / "outputs/a/scores.json").read_text()) for place in (folds_only, with_all))
    note = new.pop("all_images")
    assert old == new, "scores, nested estimate and folds are those that they were"
    assert (note["images"], note["out_of_fold"]) == (12, None)
    assert "no out-of-fold score" in note["note"]
    assert "no out-of-fold score" in (with_all / "outputs/a/report.html").read_text()
    assert job_of(with_all).trained_folds == [0, 1]


def test_it_is_one_more_network_in_the_mean_that_predicts(folds_only: Path, with_all: Path, tmp_path: Path) -> None:
    job = job_of(with_all)
    weights = job.run.all_images.weights()
    assert [path.name for path in weights] == ["last.safetensors"]
    images = Images(job.material, job.material.test, [0, 1, 2], job.loading)
    Members(job.runtime, job.config, weights).store(images, tmp_path / "alone_", job.progress)
    two, three, alone = (
        ProbStore(folder) for folder in (folds_only / "outputs/a/test", with_all / "outputs/a/test", tmp_path)
    )
    assert len(list(three)) == 3
    for name in three:
        logits = [logit(store[name].astype(np.float64)) for store in (two, alone)]
        mean = expit((2 * logits[0] + logits[1]) / 3)
        np.testing.assert_allclose(three[name], mean, atol=2e-3)
    assert any((two[name] != three[name]).any() for name in three)


def test_the_run_is_finished_with_it_and_told_where_it_changes(with_all: Path, tmp_path: Path) -> None:
    place = copied(with_all, tmp_path)
    before = hashes(place / "outputs/a")
    pipeline.train(job_of(place))
    pipeline.train(job_of(place, "trainer.folds=[all]"))
    assert hashes(place / "outputs/a") == before
    (place / "outputs/a/fold_all/last.safetensors").write_bytes(b"other weights")
    with pytest.raises(RunError, match=r"fold_all/last\.safetensors was changed by another hand"):
        pipeline.predict_test(job_of(place))


def test_a_decision_set_by_hand_stays_as_it_is(folds_only: Path, tmp_path: Path) -> None:
    place = copied(folds_only, tmp_path)
    decision = place / "outputs/a/decision.json"
    decision.write_text(json.dumps({"threshold": 0.123, "min_area": 1, "empty_gate": None}))
    pipeline.train(job_of(place, "trainer.folds=[all]"))
    assert json.loads(decision.read_text())["threshold"] == 0.123
    assert "all_images" in json.loads((place / "outputs/a/scores.json").read_text())


def test_interrupted_it_goes_on_bit_for_bit_and_predicts_only_when_whole(
    folds_only: Path, with_all: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = copied(folds_only, tmp_path)
    whole = Trainer._train_epoch

    def dies(engine: Trainer, *args: Any) -> dict[str, float]:
        if engine.state.epoch == 1:
            raise KeyboardInterrupt
        return whole(engine, *args)

    monkeypatch.setattr(Trainer, "_train_epoch", dies)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(job_of(place, "trainer.folds=[all]"))
    monkeypatch.undo()
    assert load_checkpoint(place / "outputs/a/fold_all/last.ckpt")[0].epoch == 1
    caplog.set_level(logging.WARNING)
    pipeline.predict_test(job_of(place))
    assert "fold_all: is not trained to its end" in caplog.text
    assert "all_images" not in json.loads((place / "outputs/a/scores.json").read_text())
    pipeline.train(job_of(place, "trainer.folds=[all]"))
    assert hashes(place / "outputs/a") == hashes(with_all / "outputs/a")


def test_overwriting_a_run_deletes_its_network_of_all_images(with_all: Path, tmp_path: Path) -> None:
    place = copied(with_all, tmp_path)
    pipeline.make_folds(job_of(place, "overwrite=true"))
    assert [fold.number for fold in job_of(place).run.begun_folds()] == []
    assert [fold.number for fold in job_of(with_all).run.begun_folds()] == [0, 1, ALL_IMAGES]


def test_a_fold_without_foreground_to_train_on_is_named(tmp_path: Path) -> None:
    """Images of fold 1 alone have foreground, so those that train fold 1 have none."""
    job = job_of(tmp_path, "trainer.folds=[1]")
    coverage = job.material.coverage
    split = tmp_path / "split.csv"
    rows = [(name, int(share > 0)) for name, share in sorted(coverage.items())]
    assert {fold for _, fold in rows} == {0, 1}
    pd.DataFrame(rows, columns=["id", "fold"]).to_csv(split, index=False)
    with pytest.raises(DataError, match=r"fold 1: none of its \d+ training images has foreground"):
        pipeline.train(job_of(tmp_path, "trainer.folds=[0,1]", "folds=file", f"folds.file={split}"))
    assert not (tmp_path / "outputs/a/fold_0").exists(), "fold 0 was not begun either"
