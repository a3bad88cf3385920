"""The config composes, checks itself, and answers mistakes in our words."""

import subprocess
import sys
import time

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from saltern.config import CONFIG_DIR, LOSS_PARAMS, ConfigError, RunConfig, compose_config, explain
from saltern.config.datasets import TgsConfig
from saltern.config.networks import DeepLabV2Config, SmpConfig
from saltern.config.resolve import SCHEMAS


def choices() -> list[tuple[str, str]]:
    """Every (group, choice) there is."""
    groups = [path for path in CONFIG_DIR.iterdir() if path.is_dir() and path.name not in ("grading", "laboratory")]
    return sorted((group.name, path.stem) for group in groups for path in group.glob("*.yaml"))


NEEDED = {
    ("dataset", "voc"): ["dataset.foreground=[car]"],
    ("experiment", "voc_cpu"): ["dataset.foreground=[car]"],
    ("experiment", "voc_deeplabv2"): ["dataset.foreground=[car]"],
    ("experiment", "losses_voc"): ["dataset.foreground=[car]"],
    ("experiment", "losses_voc_cpu"): ["dataset.foreground=[car]"],
    ("folds", "file"): ["folds.file=folds.csv"],
    ("folds", "group"): ["folds.group=group"],
    ("folds", "stratified_group"): ["folds.group=group"],
}
"""What a choice leaves to the user."""


def message(entry: str, *overrides: str) -> str:
    """The text that the user gets for wrong overrides."""
    try:
        compose_config(entry, list(overrides))
    except ConfigError as error:
        return str(error)
    except (HydraException, OmegaConfBaseException) as error:
        return str(explain(error))
    pytest.fail(f"{overrides} were accepted")


def test_every_choice_of_every_group_composes() -> None:
    found = choices()
    assert len(found) >= 15, f"too few configs under {CONFIG_DIR}"
    for group, name in found:
        config = compose_config("run", [f"{group}={name}", *NEEDED.get((group, name), [])])
        assert isinstance(config, RunConfig), (group, name)


def test_every_config_file_begins_with_a_comment() -> None:
    files = list(CONFIG_DIR.rglob("*.yaml"))
    assert files
    assert [path.name for path in files if not path.read_text().startswith("#")] == []


def test_groups_of_the_design_exist() -> None:
    wanted = {"dataset", "folds", "augment", "model", "schedule", "optim", "trainer", "inference", "submission"}
    assert wanted <= {group for group, _ in choices()}


def test_a_choice_becomes_its_own_dataclass() -> None:
    config = compose_config("run", ["dataset=tgs", "dataset.root=x", "model=unet_resnet34"])
    assert isinstance(config.dataset, TgsConfig)
    assert isinstance(config.model, SmpConfig)
    assert config.model.encoder == "resnet34"


@pytest.mark.parametrize("encoder", ["resnet50", "resnet101"])
def test_deeplab_is_a_model_of_its_own(encoder: str) -> None:
    config = compose_config("run", [f"model=deeplabv2_{encoder}", "model.multi_scale=true"])
    assert config.model == DeepLabV2Config(encoder=encoder, encoder_weights="imagenet", multi_scale=True)


def test_the_recipe_of_deeplab_is_that_of_its_authors() -> None:
    config = compose_config("run", ["experiment=voc_deeplabv2", "dataset.foreground=[car]"])
    assert config.model == DeepLabV2Config(
        encoder="resnet101", encoder_weights="imagenet", multi_scale=True, freeze_batchnorm=True
    )
    assert [phase.lr_policy for phase in config.schedule.phases.values()] == ["poly"]
    assert (config.optim.name, config.optim.weight_decay, config.optim.encoder_lr_scale) == ("sgd", 5e-4, 0.1)
    assert (config.trainer.batch_size, config.dataset.train_crop) == (10, [320, 320])


def test_values_reach_their_place() -> None:
    config = compose_config("run", ["schedule.phases.fine_tune.epochs=10", "trainer.folds=[0,2]", "seed=0", "name=a"])
    assert config.schedule.phases["fine_tune"].epochs == 10
    assert config.trainer.folds == [0, 2]
    assert config.seed == 0
    assert list(config.schedule.phases) == ["warm_up", "fine_tune"]


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("trainer.epochz=3", ["trainer.epochz", "batch_size", "monitor"]),
        ("trainer.batchsize=3", ["trainer.batchsize", "'batch_size'"]),
        ("dataset=tsg", ["dataset=tsg", "'tgs'", "sample"]),
        ("modle=unet_resnet34", ["modle", "'model'"]),
        ("trainer.batch_size=abc", ["trainer.batch_size", "abc", "int"]),
        ("trainer.folds=0", ["trainer.folds", "list[any] | null"]),
        ("dataset.root=null", ["dataset.root", "str"]),
        ("model.encoder=resnet33", ["model.encoder", "resnet33", "'resnet34'"]),
        ("model.architecture=unett", ["model.architecture", "'unet'"]),
        ("optim.name=adan", ["optim.name", "'adam'"]),
        ("dataset=voc", ["dataset.foreground", "no value"]),
        ("dataset=tgs", None),
        ("dataset.foreground=[car]", ["dataset.foreground", "root"]),
        ("schedule.phases.fine_tun.epochs=3", ["fine_tun", "'fine_tune'"]),
        ("schedule.phases.warm_up.lr=-1", ["schedule.phases.warm_up.lr", "-1", "positive"]),
        ("schedule.phases.warm_up.loss=lovasz_hing", ["lovasz_hing", "'lovasz_hinge'"]),
        ("schedule.phases.warm_up.loss={dice: 1}", ["merges", "schedule.phases.warm_up.loss=0.5*dice"]),
        ("schedule.phases.warm_up.cycles=7", ["cycles", "7"]),
        ("+x=1", ["x", "unknown key", "trainer"]),
        ("++trainer.x=1", ["trainer.x", "unknown key", "monitor"]),
        ("trainer.folds=[0", ["trainer.folds=[0", "key=value"]),
        ("trainer.folds=[1,1]", ["trainer.folds", "different"]),
        ("trainer.folds=[-1]", ["trainer.folds=[-1]", "from 0"]),
        ("trainer.folds=[0,all]", ["trainer.folds=[0, 'all']", "[all] alone"]),
        ("trainer.folds=[any]", ["trainer.folds=['any']", "[all] alone"]),
        ("trainer.folds=[0.5]", ["trainer.folds=[0.5]", "numbers from 0"]),
        ("trainer.folds=[all]", None),
        ("trainer.precision=fp8", ["trainer.precision", "'fp16'"]),
        ("inference.views=[hflip]", ["inference.views", "identity"]),
        ("inference.presence_gates=[0.0,1.0]", ["inference.presence_gates=[0.0, 1.0]", "from 0 to below 1"]),
        ("inference.presence_gates=[]", ["inference.presence_gates=[]", "from 0 to below 1"]),
        ("inference.empty_gates=[-0.1]", ["inference.empty_gates=[-0.1]", "from 0 to below 1"]),
        ("model.heads.empty=1e400", ["model.heads.empty=inf", "null or a positive number"]),
        ("model.heads.empty=0", ["model.heads.empty=0", "null or a positive number"]),
        ("model.heads.deep_supervision=-0.1", ["model.heads.deep_supervision=-0.1", "null or a positive number"]),
        ("experiment=nope", ["nope"]),
        ("seed=-1", ["seed=-1", "0 or more"]),
        ("optim.betas=[2,2]", ["optim.betas", "below 1"]),
        ("+schedule.phases.third={epochs: 1}", ["third", "file under configs/schedule"]),
        ("schedule.phases.fine_tune.loss.lovasz_hinge.per_image=false", ["schedule.phases.fine_tune.loss", "sum"]),
        ("submission.order=up", ["submission.order", "column, row"]),
        ("trainer.keep=mean", ["trainer.keep", "mean", "best, last, average"]),
        ("trainer.soup_of=worst", ["trainer.soup_of", "worst", "best, last"]),
        ("trainer.soup_epochs=1", ["trainer.soup_epochs=1", "at least 2"]),
        ("trainer.soup_epochs=3", ["trainer.soup_epochs=3", "5 where trainer.keep is best"]),
        ("schedule.phases.warm_up.freeze_encoder=yess", ["schedule.phases.warm_up.freeze_encoder", "yess", "bool"]),
    ],
)
def test_a_mistake_is_answered_with_key_value_and_nearest_name(override: str, parts: list[str] | None) -> None:
    if parts is None:
        compose_config("run", [override])
        return
    text = message("run", override)
    for part in parts:
        assert part in text, text
    assert "\n    full_key" not in text


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model.encoder=resnet34", ["model.encoder", "'resnet34'", "resnet50, resnet101"]),
        ("model.multi_scale=three", ["model.multi_scale", "three", "bool"]),
        ("model.multiscale=true", ["model.multiscale", "'multi_scale'"]),
        ("model.options={a: 1}", ["model.options", "unknown key", "freeze_batchnorm"]),
        ("+model.architecture=unet", ["model.architecture", "unknown key"]),
        ("model.std=[1,1]", ["model.std", "three numbers"]),
    ],
)
def test_a_mistake_about_deeplab_is_answered(override: str, parts: list[str]) -> None:
    text = message("run", "model=deeplabv2_resnet50", override)
    for part in parts:
        assert part in text, text


def test_a_fold_predicts_with_its_snapshots_or_with_what_it_keeps() -> None:
    cycles = ["lr_policy=cosine_restarts", "cycles=7", "snapshots=true"]
    snapshots = [f"schedule.phases.fine_tune.{key}" for key in cycles]
    text = message("run", *snapshots, "trainer.keep=last")
    assert "trainer.keep='last': expected best where schedule.phases.fine_tune.snapshots is true" in text
    assert compose_config("run", snapshots).trainer.keep == "best"
    assert compose_config("run", ["trainer.keep=average", "trainer.soup_epochs=3"]).trainer.soup_epochs == 3


def test_norms_of_random_weights_cannot_be_frozen() -> None:
    frozen = ["model=deeplabv2_resnet50", "model.freeze_batchnorm=true"]
    text = message("run", *frozen, "model.encoder_weights=null")
    assert "model.freeze_batchnorm=True: expected false where model.encoder_weights is null" in text
    assert compose_config("run", [*frozen, "model.encoder_weights=w.pth"]).model.freeze_batchnorm


def test_a_typo_is_answered_in_under_a_second_and_before_torch() -> None:
    """The best of three, since the machine may be busy; the check that torch stays out has no tolerance."""
    code = (
        "import sys; from saltern.config import compose_config, ConfigError\n"
        "try: compose_config('run', ['model.encoder=resnet33'])\n"
        "except ConfigError: print('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    times = []
    for _ in range(3):
        began = time.perf_counter()
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - began)
        assert answer.stdout.strip() == "False"
    assert min(times) < 1.0, times


def test_submission_may_be_a_path_for_score() -> None:
    config = compose_config("score", ["submission=a.csv", "truth=b.csv"])
    assert (config.submission, config.truth) == ("a.csv", "b.csv")
    assert "truth has no value" in message("score", "submission=a.csv")


def test_compare_takes_its_score_by_name() -> None:
    assert compose_config("compare", ["name=x", "runs=[a,b]", "score=iou"]).score == "iou"


def test_names_in_choices_match_the_libraries() -> None:
    import segmentation_models_pytorch as smp

    from saltern.config import choices as names
    from saltern.engine.optim import OPTIMIZERS, POLICIES
    from saltern.inference.tta import VIEWS
    from saltern.models import MODELS, deeplabv2

    assert set(names.ARCHITECTURES) == set(smp.MODEL_ARCHITECTURES_MAPPING)
    assert set(names.ENCODERS) == set(smp.encoders.get_encoder_names())
    assert set(names.DEEPLABV2_ENCODERS) == set(deeplabv2.ENCODERS)
    assert set(names.VIEWS) == set(VIEWS)
    assert set(names.LR_POLICIES) == set(POLICIES)
    assert set(names.OPTIMIZERS) == set(OPTIMIZERS)
    assert {f"{name}_schema" for name in MODELS} == set(SCHEMAS["model"])
    assert {f"{name}_schema" for name in names.LAYOUTS} == set(SCHEMAS["dataset"])


def test_losses_by_text_replace_the_whole_sum() -> None:
    phase = compose_config("run", ["schedule.phases.fine_tune.loss=0.7*lovasz_hinge+dice"]).schedule.phases["fine_tune"]
    assert [(term.name, term.weight) for term in phase.terms()] == [("lovasz_hinge", 0.7), ("dice", 1.0)]


def test_loss_parameters_are_filled_in_and_checked() -> None:
    config = compose_config("run", [])
    phase = config.schedule.phases["warm_up"]
    phase.loss = {"tversky": {"weight": 0.5, "alpha": 0.3, "beta": 0.7}, "bce": None, "dice": 0}
    (term,) = phase.terms()
    assert term.weight == 0.5
    assert term.params == {**LOSS_PARAMS["tversky"], "alpha": 0.3, "beta": 0.7}
    phase.loss = {"tversky": {"alfa": 0.3}}
    with pytest.raises(ConfigError, match=r"alfa.*'alpha'"):
        phase.terms()
    phase.loss = {"bce": -1}
    with pytest.raises(ConfigError, match=r"-1.*at least 0"):
        phase.terms()
    phase.loss = {"bce": 0}
    with pytest.raises(ConfigError, match="no loss with a positive weight"):
        phase.terms()


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("name=" + "n" * 201, ["name='nnn", "201 bytes", "at most 200"]),
        ("name='a\nb'", ["name='a\\nb'", "control characters"]),
        ("outputs=" + "o/" * 2000, ["outputs=", "3800 in all"]),
        ("dataset.root='~nobody_here/x'", ["dataset.root='~nobody_here/x'", "no user 'nobody_here'"]),
        (f"dataset.root={__file__}", ["dataset.root=", "test_resolve.py is a file", "folder"]),
        (f"outputs={__file__}/x", ["outputs=", "test_resolve.py is a file"]),
    ],
)
def test_a_name_or_path_that_cannot_be_is_refused_before_anything_begins(override: str, parts: list[str]) -> None:
    text = message("run", override)
    for part in parts:
        assert part in text, text


def test_the_home_is_put_in_place_of_the_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jürgen")
    config = compose_config("run", ["dataset.root='~/tgs'", "outputs='~'"])
    assert (config.dataset.root, config.outputs) == ("/home/jürgen/tgs", "/home/jürgen")
