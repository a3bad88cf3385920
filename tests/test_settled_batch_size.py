"""`trainer.batch_size=auto` becomes a number before a run is frozen, and the run goes on with that number."""

from pathlib import Path

import pytest

from saltern.config import ConfigError, RunConfig, compose_config, recorded_overrides, reopen, thaw
from saltern.errors import RunError
from saltern.pipeline import Job, make_folds, preview
from saltern.pipeline import batch_size as settling
from saltern.runs import RunDir

TINY = [
    "name=a",
    "dataset.train=60",
    "dataset.test=2",
    "dataset.side=32",
    "folds.n=2",
    "folds.check_images=false",
    "model.encoder=resnet18",
    "model.options={encoder_depth: 3, decoder_channels: [16, 8, 8]}",
    "trainer.accelerator=cpu",
    "trainer.batch_size=auto",
]


def job(place: Path, *more: str) -> Job:
    overrides = [*TINY, f"dataset.root={place}/data", f"outputs={place}/outputs", *more]
    return Job(compose_config("run", overrides), overrides=overrides)


def frozen(place: Path) -> RunConfig:
    return thaw(RunDir.of(place / "outputs", "a").config)


def test_an_epoch_keeps_ten_steps_and_the_run_keeps_the_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    make_folds(job(tmp_path))
    assert frozen(tmp_path).trainer.batch_size == 3, "30 images of a fold in 10 steps"
    assert "trainer.batch_size=auto: 3, bounded by an epoch's number of steps" in caplog.text
    run = RunDir.of(tmp_path / "outputs", "a")
    recorded = recorded_overrides(run.environment)
    assert "trainer.batch_size=auto" in recorded

    monkeypatch.setattr(settling, "found_batch_size", lambda *_: pytest.fail("searched again"))
    again = job(tmp_path)
    make_folds(again)
    assert again.config.trainer.batch_size == again.loading.batch_size == 3
    for asked in ([], ["trainer.batch_size=auto"], ["trainer.batch_size=3"]):
        assert reopen(run.config, recorded, asked).trainer.batch_size == 3
    with pytest.raises(ConfigError, match=r"trainer\.batch_size: 3 in the run, 4 asked for"):
        reopen(run.config, recorded, ["trainer.batch_size=4"])


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    make_folds(job(tmp_path, "dataset.train=100", "trainer.accumulate=2"))
    assert frozen(tmp_path).trainer.batch_size == 2, "50 images, 10 steps of 2 batches"


def test_a_run_begun_with_a_number_may_be_continued_by_auto(tmp_path: Path) -> None:
    overrides = [item for item in TINY if "batch_size" not in item]
    place = [f"dataset.root={tmp_path}/data", f"outputs={tmp_path}/outputs", "trainer.batch_size=7"]
    make_folds(Job(compose_config("run", [*overrides, *place])))
    make_folds(job(tmp_path))
    assert frozen(tmp_path).trainer.batch_size == 7
    with pytest.raises(ConfigError, match=r"optim\.momentum"):
        make_folds(job(tmp_path, "optim.momentum=0.5"))


def test_a_run_that_is_overwritten_finds_its_own_number(tmp_path: Path) -> None:
    make_folds(job(tmp_path))
    make_folds(job(tmp_path, "trainer.accumulate=1", "dataset.side=48", f"dataset.root={tmp_path}/other", "folds.n=3",
                   "overwrite=true"))  # fmt: skip
    assert frozen(tmp_path).trainer.batch_size == 4, "40 images of a fold now"


def test_one_process_does_not_find_what_several_share(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=auto: is found on all devices together"):
        make_folds(job(tmp_path, "trainer.devices=2"))


def test_a_frozen_auto_is_named(tmp_path: Path) -> None:
    make_folds(job(tmp_path))
    path = RunDir.of(tmp_path / "outputs", "a").config
    path.write_text(path.read_text().replace("  batch_size: 3\n", "  batch_size: auto\n"))
    with pytest.raises(RunError, match=r"trainer\.batch_size='auto': expected the number"):
        thaw(path)


def test_a_preview_needs_no_batch_size(tmp_path: Path) -> None:
    assert preview(job(tmp_path)).is_file()


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "true", "automatic", "null", "[8]"])
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.batch_size=.*a whole number \(int\) of at least 1, or auto"):
        compose_config("run", [f"trainer.batch_size={value}"])
