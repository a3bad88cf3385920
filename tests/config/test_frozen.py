"""A frozen config reads back equal, and later stages contradict it in vain."""

from pathlib import Path

import pytest

from saltern.config import (
    ConfigError,
    compose_config,
    contradictions,
    freeze,
    later_wins,
    recorded_overrides,
    reopen,
    thaw,
)
from saltern.errors import RunError

BEGUN_WITH = ["dataset=tgs", "dataset.root=here", "schedule.phases.warm_up.loss={bce: 0.5}", "name=a"]


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(freeze(compose_config("run", BEGUN_WITH)))
    return path


@pytest.mark.parametrize(
    "overrides", [[], BEGUN_WITH, ["model=unet_resnet34", "optim=sgd", "augment=none"], ["model=deeplabv2_resnet50"]]
)
def test_freeze_and_thaw_give_back_an_equal_config(overrides: list[str], tmp_path: Path) -> None:
    config = compose_config("run", overrides)
    path = tmp_path / "config.yaml"
    path.write_text(freeze(config))
    thawed = thaw(path)
    assert thawed == config
    assert type(thawed.dataset) is type(config.dataset)
    assert type(thawed.model) is type(config.model)


@pytest.mark.parametrize("text", ["08._E5918", "1_0", "1e5", "0x1f", "1:30", "on", "null", "~", "- a", "a: b", "ü"])
def test_text_that_could_be_something_else_stays_text(text: str, tmp_path: Path) -> None:
    config = compose_config("run", [])
    config.name = config.dataset.cache_dir = text
    path = tmp_path / "config.yaml"
    path.write_text(freeze(config), encoding="utf-8")
    assert thaw(path) == config


def test_the_same_overrides_again_are_no_contradiction(frozen: Path) -> None:
    assert reopen(frozen, BEGUN_WITH, ["dataset=tgs", "dataset.root=here", "name=a"]) == thaw(frozen)


def test_an_override_that_contradicts_is_refused_with_both_values(frozen: Path) -> None:
    with pytest.raises(ConfigError, match=r"inference\.tune_for: 'precision_tgs' in the run, 'iou_image' asked for"):
        reopen(frozen, BEGUN_WITH, ["inference.tune_for=iou_image"])
    with pytest.raises(ConfigError, match=r"model\.encoder"):
        reopen(frozen, BEGUN_WITH, ["model=unet_resnet34"])


def test_where_to_compute_may_differ(frozen: Path) -> None:
    config = reopen(frozen, BEGUN_WITH, ["trainer.workers=3", "trainer.eval_batch_size=7", "trainer.folds=[1]"])
    assert reopen(frozen, BEGUN_WITH, ["trainer.folds=[all]", "trainer.max_hours=2"]).trainer.folds == ["all"]
    assert (config.trainer.workers, config.trainer.eval_batch_size, config.trainer.folds) == (3, 7, [1])
    assert reopen(frozen, BEGUN_WITH, ["dataset.root=moved"]).dataset.root == "moved"
    assert reopen(frozen, BEGUN_WITH, ["trainer.checkpointing=true"]).trainer.checkpointing


def test_contradictions_are_what_changes_the_result() -> None:
    old = compose_config("run", [])
    new = compose_config("run", ["trainer.batch_size=3", "trainer.folds=[0]", "overwrite=true"])
    assert contradictions(old, new) == {"trainer.batch_size": (16, 3)}


def test_later_overrides_win_over_earlier_ones_of_the_same_key() -> None:
    assert later_wins(["a=1", "b.c=2", "+d=3"], ["b.c=4", "e=5"]) == ["a=1", "+d=3", "b.c=4", "e=5"]


def test_a_config_of_another_version_is_named(frozen: Path) -> None:
    frozen.write_text(frozen.read_text().replace("batch_size:", "batch_sise:"))
    with pytest.raises(RunError, match="batch_sise"):
        thaw(frozen)


def test_a_damaged_config_is_named(frozen: Path) -> None:
    for content in ("a: [", "just text"):
        frozen.write_text(content)
        with pytest.raises(RunError, match=r"config\.yaml: not a run config"):
            thaw(frozen)


def test_a_missing_config_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="make train"):
        thaw(tmp_path / "config.yaml")


def test_a_run_that_lies_about_how_it_began_is_named(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    for content in ("[]", "{}", '{"overrides": "seed=1"}', '{"overrides": [1]}'):
        path.write_text(content)
        with pytest.raises(RunError, match=r"environment\.json: holds no list of texts as `overrides`"):
            recorded_overrides(path)
    path.write_text('{"overrides": ["seed=1"]}')
    assert recorded_overrides(path) == ["seed=1"]
