"""Overrides arrive as they were written: text as text, lists as lists, choices as choices."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from saltern.config import as_meant, compose_config, freeze, later_wins, refuse_surprises, reopen
from saltern.errors import ConfigError

SAME = [
    "trainer.folds=[0,1]", "trainer.folds=0", "trainer.clip_grad_norm=null", "dataset.cache_dir=null", "seed=3",
    "name=try1", "name=${seed}", "name='a,b'", 'name="ü"', "outputs=${oc.env:HOME}/runs", "~experiment", "dataset=tgs",
    "model.options={decoder_channels: [16, 8, 8]}", "inference.thresholds=[0.1,0.2]", "runs=[a,b]", "weights=[1,2.5]",
    "schedule.phases.fine_tune.loss=0.5*lovasz_hinge+0.5*bce", "augment.transforms=[{name: Affine, args: {p: 1}}]",
    "x", "=x", "name=", "trainer.folds=[0", "model.options={a: 1", "name='a", "dataset.images=images/*", r"name=a\b",
]  # fmt: skip
"""Hydra reads these as they are meant, or has to refuse them."""

TEXTS = {
    "name": ["2024_11_21", "1e5", "007", "true", "a,b", "range(3)", "choice(a,b)", "ünï", "日本", "😀", "a#b", "a;b",
             "a=b", "a'b", 'a"b', "a[b", "a{b}", "(x)", "~x", "ü'", "ü\\", "a]b\\\\'c"],
    "outputs": ["out[red]x", "out[/x]", "2024", "a, b"],
    "dataset.root": ["/home/jürgen/tgs", "~nouser/x", "1_0", "/data/[old] set", "C:ü"],
    "submission": ["out/2024_1.csv", "7"],
    "model.encoder_weights": ["w[1].pth", "1"],
    "model": ["2024_1", "true"],
    "experiment": ["7"],
    "folds.regex": [r"^(.*)_\d+$", "(a|b)[0-9]+"],
    "dataset.masks": ["train_masks/{stem}_mask.gif"],
}  # fmt: skip


def read(override: str) -> object:
    return OverridesParser.create().parse_override(override).value()


@pytest.mark.parametrize("override", SAME)
def test_what_hydra_reads_as_it_is_meant_is_left_alone(override: str) -> None:
    assert as_meant(override) == override
    assert as_meant(override, multirun=True) == override


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in TEXTS.items() for value in values])
def test_text_arrives_as_text(key: str, value: str) -> None:
    assert read(as_meant(f"{key}={value}")) == value
    assert as_meant(as_meant(f"{key}={value}")) == as_meant(f"{key}={value}")


def test_words_in_lists_are_quoted_one_by_one() -> None:
    assert read(as_meant("runs=[2024_11_21,ünï, 007]")) == ["2024_11_21", "ünï", "007"]
    assert read(as_meant("model.options={a: ü, b: [1,2]}")) == {"a": "ü", "b": [1, 2]}


def test_choices_stay_choices_where_several_runs_are_asked_for() -> None:
    assert as_meant("trainer.folds=[0],[1]", multirun=True) == "trainer.folds=[0],[1]"
    assert as_meant("seed=0,1", multirun=True) == "seed=0,1"
    assert as_meant("name=ü,2024_1,b", multirun=True) == "name='ü','2024_1',b"
    assert as_meant("name=choice(a,b)", multirun=True) == "name=choice(a,b)"


def test_a_run_begun_with_odd_names_is_found_again(tmp_path: Path) -> None:
    begun = [as_meant(text) for text in ("name=2024_11_21", f"outputs={tmp_path}/ü[red]", "dataset.root=a=b")]
    config = compose_config("run", begun)
    assert (config.name, config.outputs, config.dataset.root) == ("2024_11_21", f"{tmp_path}/ü[red]", "a=b")
    path = tmp_path / "config.yaml"
    path.write_text(freeze(config), encoding="utf-8")
    assert reopen(path, begun, begun) == config
    moved = as_meant("dataset.root=jürgen")
    assert later_wins(begun, [moved]) == [*begun[:2], moved]
    assert reopen(path, begun, [moved]).dataset.root == "jürgen"


def test_a_number_is_no_true_or_false() -> None:
    for key in ("schedule.phases.warm_up.freeze_encoder", "trainer.compile", "overwrite", "+insist"):
        for value in ("2", "-1", "10"):
            with pytest.raises(ConfigError, match=f"={value}: expected true or false"):
                refuse_surprises([f"{key}={value}"])
        refuse_surprises([f"{key}={value}" for value in ("true", "false", "1", "0", "yes")])
    refuse_surprises(["schedule.phases.warm_up.epochs=2", "trainer.workers=2", "seeds=[2]"])
