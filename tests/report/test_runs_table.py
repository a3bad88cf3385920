"""`make runs`: every run below a folder, found, scored, set against the best, and named where it is broken."""

import csv
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from saltern.config import ConfigError, RunsConfig, compose_config, freeze
from saltern.config.apart import apart, frozen_leaves
from saltern.data.source.truths import Hashes, write_truths
from saltern.errors import RunError
from saltern.files import sha256, write_json, write_text
from saltern.pipeline.listing import list_runs
from saltern.report.runs_table import Table
from saltern.runs import RunDir

SUMMARY = dict.fromkeys(("iou_image", "iou_dataset", "dice_image", "precision_tgs"), 0.5)
Make = Callable[..., RunDir]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def run(name: str, score: float | None = 0.7, *overrides: str, truth: str = "0", fold: int = 0) -> RunDir:
        made = RunDir(tmp_path / name)
        write_text(made.config, freeze(compose_config("run", [f"name='{name}'", *overrides])))
        write_json(made.environment, {"gpus": [], "cpu_threads": 2, "overrides": []})
        write_text(made.folds, f"id,fold\na,{fold}\nb,1\nc,1\n")
        for number in (0, 1):
            write_json(made.fold(number).done, {})
            write_text(made.fold(number).metrics, "epoch,phase,images_per_s\n1,p,0.5\n2,p,0.25\n")
        if score is not None:
            write_truths(made.truth, {key: Hashes(truth * 32, "0" * 32) for key in "abc"})
            part = {"images": 3, "at_0.5": SUMMARY, "at_decision": SUMMARY}
            scores = {
                "tuned_for": "precision_tgs",
                "per_fold": {"0": part},
                "pooled": part,
                "curve": {key: [] for key in (*SUMMARY, "threshold")},
                "decision": {"threshold": 0.5, "min_area": 0, "empty_gate": None},
                "nested": {"by": "fold", "scores": {**SUMMARY, "precision_tgs": score}},
                "forecast": {"score": score, "low": score - 0.1, "high": score + 0.1, "images": 9},
            }
            write_json(made.scores, scores)
            files = {path.name: sha256(path) for path in (made.scores, made.truth)}
            write_json(made.seal("tune"), {"files": files, "made_of": {"folds.csv": sha256(made.folds)}})
            write_json(made.seal("report"), {"files": {}, "made_of": {}})
        return made

    return run


def listed(tmp_path: Path, against: str | None = None) -> Table:
    return list_runs(RunsConfig(outputs=str(tmp_path), against=against))


def test_runs_are_set_against_the_best_and_only_what_differs_is_told(tmp_path: Path, make: Make) -> None:
    make("a", 0.7)
    make("losses/x/b", 0.8, "optim.weight_decay=0.5", "trainer.workers=3")
    table = listed(tmp_path)
    assert [entry.found.name for entry in table.entries] == ["losses/x/b", "a"]
    assert table.reference is table.entries[0].found
    found = table.entries[1]
    default = compose_config("run", ["name=x"])
    assert found.differs == {
        "optim.weight_decay": (0.5, default.optim.weight_decay),
        "trainer.workers": (3, default.trainer.workers),
    }
    assert not found.incomparable
    assert (found.found.score, found.found.kind, found.found.machine) == (0.7, "nested", "CPU, 2 threads")
    # fold 0 trains on 2 images, fold 1 on 1; epochs at 0.5 and at 0.25 images a second
    assert found.found.hours == pytest.approx((2 + 1) * (2 + 4) / 3600)
    with (tmp_path / "runs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["run"], row["optim.weight_decay"], row["state"]) for row in rows] == [
        ("losses/x/b", "0.5", "finished"),
        ("a", str(default.optim.weight_decay), "finished"),
    ]
    assert listed(tmp_path, "a").reference.name == "a"  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"unknown run 'loses/x/b'\. Did you mean 'losses/x/b'"):
        listed(tmp_path, "loses/x/b")


def test_runs_on_other_truth_or_folds_are_not_comparable_and_do_not_become_the_best(tmp_path: Path, make: Make) -> None:
    make("a", 0.7)
    make("b", 0.6)
    make("masks", 0.9, truth="1")
    make("folds", 0.65, fold=1)
    table = listed(tmp_path)
    assert table.reference is not None
    assert table.reference.name == "a"
    assert {entry.found.name: entry.incomparable for entry in table.entries} == {
        "a": [],
        "b": [],
        "masks": ["other truth (3 of 3 masks)"],
        "folds": ["other folds (1 images in another one)"],
    }
    page = (tmp_path / "runs.html").read_text()
    assert page.count("not comparable") == 2
    assert "other truth (3 of 3 masks)" in page


def test_unfinished_and_broken_runs_are_named_with_what_is_wrong(tmp_path: Path, make: Make) -> None:
    make("good")
    make("half", None).fold(1).done.unlink()
    make("no_config").config.unlink()
    write_text(make("edited").scores, (tmp_path / "good/scores.json").read_text().replace("0.7", "0.99"))
    write_text(make("noise").config, "dataset: [&x 1, *x]")
    write_text(make("torn").scores, "{")
    write_json(make("held", None).holds / "run.json", {"process": 7, "host": "box", "since": "noon"})
    (tmp_path / "compare" / "x").mkdir(parents=True)
    (tmp_path / "compare" / "x" / "report.html").write_text("")
    found = {entry.found.name: entry.found for entry in listed(tmp_path).entries}
    assert {name: run.state for name, run in found.items()} == {
        "good": "finished", "half": "unfinished", "no_config": "broken", "edited": "broken", "noise": "broken",
        "torn": "broken", "held": "unfinished",
    }  # fmt: skip
    for name, told in {
        "half": "fold_1 not trained to the end", "no_config": "config.yaml is gone",
        "edited": "scores.json was changed by another hand", "noise": "refers to another line",
        "torn": "not readable as JSON", "held": "process 7 on box works on run",
    }.items():  # fmt: skip
        assert told in "; ".join(found[name].wrong)
        assert told in (tmp_path / "runs.html").read_text()


def test_a_key_that_an_earlier_version_did_not_know_has_its_default(tmp_path: Path, make: Make) -> None:
    new, old = make("new"), make("old")
    content = yaml.safe_load(old.config.read_text())
    del content["submission"]["connectivity"], content["trainer"]["keep"], content["forecast"]
    write_text(old.config, yaml.safe_dump(content))
    assert apart(frozen_leaves(new.config), frozen_leaves(old.config)) == {}
    last = make("last", 0.7, "trainer.keep=last")
    assert apart(frozen_leaves(last.config), frozen_leaves(old.config)) == {"trainer.keep": ("last", "best")}


def test_text_from_runs_is_escaped_on_the_page(tmp_path: Path, make: Make) -> None:
    make("a")
    make("<b>", 0.6, "dataset.root='<i>x</i>'")
    listed(tmp_path)
    page = (tmp_path / "runs.html").read_text()
    assert "dataset.root=&lt;i&gt;x" in page
    assert "<b><" not in page
    assert "<td>&lt;b&gt;</td>" in page


def test_a_folder_without_runs_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunError, match="there is no run here yet"):
            listed(folder)


def test_two_hundred_runs_take_seconds(tmp_path: Path, make: Make) -> None:
    first = make("r0")
    for number in range(1, 200):
        shutil.copytree(first.path, tmp_path / f"r{number}")
    began = time.perf_counter()
    table = listed(tmp_path)
    assert len(table.entries) == 200
    assert time.perf_counter() - began < 60
