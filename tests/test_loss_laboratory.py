"""The loss laboratory on a recipe of seconds: its runs, what it refuses, how it goes on, what its table says."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_end_to_end import script

from saltern.config import ConfigError, as_meant, compose_config
from saltern.errors import RunError
from saltern.inference.spread import pooled_retrain
from saltern.metrics.noise import mean_interval
from saltern.pipeline import several, train_losses
from saltern.pipeline.laboratory import refuse_idle_loss
from saltern.pipeline.rate_search import choose_rate
from saltern.report.loss_table import LossRow

TINY = [
    "dataset.train=12",
    "dataset.test=4",
    "dataset.side=32",
    "folds.n=2",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.batch_size=3",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "schedule.phases.warm_up.epochs=1",
    "schedule.phases.fine_tune.epochs=1",
    "inference.views=[identity]",
]
ASKED = [*TINY, "trainer.folds=[0]", "only=[dice]", "search.rates=[1,3]", "seeds=[0,1]", "name=lab", "score=iou"]


class Trainings:
    """Stands for the processes of `train_several`: trains here, where torch is loaded, and counts."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failing = ""
        self.stop_at = ""

    def __call__(self, overrides: Sequence[str]) -> int:
        name = next(text for text in overrides if text.startswith("name="))[5:]
        if name == self.stop_at:
            raise KeyboardInterrupt
        if name == self.failing:
            return 2
        self.names.append(name)
        return script("train", *overrides, cwd=Path.cwd()).returncode


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    found = Trainings()
    monkeypatch.setattr(several, "_train", found)
    return found


def losses(place: Path, *more: str) -> list[LossRow]:
    """`make losses` with ASKED in the folder `place`."""
    taken = {text.partition("=")[0] for text in more}
    given = [as_meant(text) for text in (*(one for one in ASKED if one.partition("=")[0] not in taken), *more)]
    before = Path.cwd()
    os.chdir(place)
    try:
        return train_losses(compose_config("losses", given), given)[1]
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished laboratory `lab`, which was interrupted once."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(several, "_train", trained := Trainings())
        trained.stop_at = "dice_seed1"
        with pytest.raises(KeyboardInterrupt):
            losses(folder)
        begun = [*trained.names]
        trained.stop_at = ""
        losses(folder)
    searched = ["bce_rate1", "bce_rate3", "dice_rate1", "dice_rate3"]
    assert begun == [*searched, "bce_seed0", "bce_seed1", "dice_seed0"]
    assert trained.names == [*begun, "dice_seed1"], "what was finished is trained once"
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_runs_are_ordinary_and_share_their_folds(place: Path) -> None:
    lab = place / "outputs/losses/lab"
    rates = read(lab / "rates.json")["rates"]
    for loss in ("bce", "dice"):
        for seed in (0, 1):
            run = lab / "runs" / f"{loss}_seed{seed}"
            assert (run / "folds.csv").read_bytes() == (lab / "recipe/folds.csv").read_bytes()
            text = (run / "config.yaml").read_text()
            assert f"seed: {seed}\n" in text
            assert "fine_tune" not in text
            assert f"lr: {0.004 * rates[loss]['factor']:g}" in text
            assert (run / "report.html").exists()
            assert len(pd.read_csv(run / "fold_0/metrics.csv")) == 2, "the epochs of both phases"
    assert script("tune", "name=bce_seed0", f"outputs={lab / 'runs'}", cwd=place).returncode == 0


def test_the_best_rate_of_the_search_is_taken(place: Path) -> None:
    lab = place / "outputs/losses/lab"
    for loss, rate in read(lab / "rates.json")["rates"].items():
        scores = {}
        for factor in (1, 3):
            content = read(lab / f"search/{loss}_rate{factor}/scores.json")
            scores[factor] = content["pooled"]["at_decision"][content["tuned_for"]]
        assert {int(key): value for key, value in rate["scores"].items()} == scores
        assert scores[rate["factor"]] == max(scores.values())


def nested(place: Path, loss: str) -> list[pd.DataFrame]:
    paths = [place / f"outputs/losses/lab/runs/{loss}_seed{seed}/oof_nested.csv" for seed in (0, 1)]
    return [pd.read_csv(path, dtype={"id": str}).sort_values("id") for path in paths]


def test_the_difference_is_what_the_noise_model_says_of_the_runs_tables(place: Path) -> None:
    tables = {loss: nested(place, loss) for loss in ("bce", "dice")}
    known = pooled_retrain(tables.values(), "iou").over(2)
    means = {loss: np.mean([table["iou"] for table in found], axis=0) for loss, found in tables.items()}
    expected = mean_interval(
        (means["dice"] - means["bce"]).round(9), folds=tables["bce"][0]["fold"], retrain=known.plus(known), lean=False
    )
    table = pd.read_csv(place / "outputs/losses/lab/table.csv").set_index("loss")
    found = table.loc["dice", ["difference", "low", "high"]].tolist()
    assert found == pytest.approx([expected.mean, expected.low, expected.high])
    assert table.loc["bce", "iou_image"] == pytest.approx(means["bce"].mean())
    halves = [read(place / f"outputs/losses/lab/runs/dice_seed{seed}/scores.json")["pooled"] for seed in (0, 1)]
    dice = [half["at_0.5"]["dice_image"] for half in halves]
    assert table.loc["dice", "dice_image_0.5"] == pytest.approx(np.mean(dice))


def test_the_page_says_it_in_words_and_loads_nothing(place: Path) -> None:
    text = (place / "outputs/losses/lab/report.html").read_text()
    assert "The one other loss against bce" in text
    assert "dice: " in text
    assert text.count("<svg") == 4
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="' not in text


def test_another_list_or_budget_is_refused(place: Path, trainings: Trainings) -> None:
    for more, said in {
        ("search.rates=[1,2]",): "begun with search.rates=",
        ("search.epochs=2",): "begun with search.epochs=None, now it is 2",
        ("seeds=[1]",): r"begun with seeds=\[0, 1\]",
        ("losses.dice=0.5*dice+0.5*bce",): r"begun with losses.dice=\['dice'\]",
        ("only=[hinge]",): r"begun with losses=\['bce', 'dice'\]",
        ("trainer.folds=[1]",): "begun with trainer.folds",
        ("trainer.batch_size=4",): "trainer.batch_size: 3 in the run, 4 asked for",
    }.items():
        with pytest.raises(ConfigError, match=said):
            losses(place, *more)
    assert trainings.names == []


def test_a_loss_is_added_one_run_fails_and_the_others_count(place: Path, trainings: Trainings) -> None:
    trainings.failing = "hinge_seed1"
    kept = place / "outputs/losses/lab/runs/dice_seed1/fold_0/best.safetensors"
    before = kept.stat().st_mtime_ns
    rows = losses(place, "only=[dice,hinge]")
    assert [(row.name, len(row.runs.nested)) for row in rows] == [("bce", 2), ("dice", 2), ("hinge", 1)]
    assert trainings.names == ["hinge_rate1", "hinge_rate3", "hinge_seed0"]
    assert kept.stat().st_mtime_ns == before
    text = (place / "outputs/losses/lab/report.html").read_text()
    assert "Failed and left out: hinge_seed1" in text
    assert "Some loss was trained with one seed" in text
    assert "97.5 %" in text, "Bonferroni for two comparisons"


def test_without_the_baseline_nothing_is_compared(tmp_path: Path, trainings: Trainings) -> None:
    trainings.failing = "bce_seed0"
    with pytest.raises(RunError, match="no run of bce could be trained"):
        losses(tmp_path, "seeds=[0]", "search.rates=[1]", "name=other")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("losses.mine=lovasz_hing", "losses.mine.lovasz_hing: .*'lovasz_hinge'"),
        ("losses.mine=dice(smoth=1)", "losses.mine.dice: .*'smooth'"),
        ("losses.mine=dice(smooth)", "cannot read 'smooth'"),
        ("losses.mine=[bce,dice,bce]", "has 3 phases, the recipe 2"),
        ("losses._b=bce", "expected a name of letters"),
        ("losses.mine=3", "expected text such as"),
        ("only=[dise]", "only: .*'dice'"),
        ("only=[bce]", "expected another one to compare"),
        ("baseline=none", "baseline: "),
        ("seeds=[1,1]", "different whole numbers"),
        ("seed=3", r"seeds=\[3\]"),
        ("search.rates=[0]", "positive factors"),
        ("search.epochs=1", "search.epochs=1: expected 2"),
        ("score=iou_image", "score: "),
        ("trainer.batch_size=auto", "Expected a number"),
        ("overwrite=true", "delete its folder yourself"),
    ],
)
def test_mistakes_are_answered_before_anything_is_read(more: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose_config("losses", [as_meant(more)])


def test_a_loss_that_cannot_teach_is_refused() -> None:
    refuse_idle_loss("0.9*lovasz_hinge(per_image=false)+0.1*bce", "losses.mine")
    with pytest.raises(ConfigError, match=r"losses.mine='dice.*no slope"):
        refuse_idle_loss("dice(smooth=1e30)", "losses.mine")


def test_the_rate_of_the_best_score_is_chosen_and_of_equals_the_nearest_to_the_recipes() -> None:
    assert choose_rate({0.33: 0.2, 1.0: 0.5, 3.0: 0.5}, [0.33, 1, 3]) == 1.0
    assert choose_rate({0.33: 0.2, 1.0: None, 3.0: 0.1}, [0.33, 1, 3]) == 0.33
    assert choose_rate({0.33: None, 1.0: None}, [0.33, 1]) is None
    assert choose_rate({}, [2.0]) == 2.0


def test_experiment_null_is_no_experiment(tmp_path: Path) -> None:
    done = script("losses", "experiment=null", "only=[nope]", cwd=tmp_path)
    assert done.returncode == 2
    assert "unknown loss of the list" in done.stdout + done.stderr
