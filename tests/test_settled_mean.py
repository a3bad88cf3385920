"""A run that was begun before `inference.mean` could be chosen goes on with the mean of probabilities."""

from pathlib import Path

import pytest

from saltern.config import ConfigError, compose_config, fingerprint, reopen, states, thaw
from saltern.pipeline import Job, make_folds
from saltern.runs import RunDir
from saltern.runs.seals import SETTINGS

TINY = ["name=a", "dataset.train=12", "dataset.test=2", "dataset.side=32", "folds.n=2", "folds.check_images=false"]


def job(place: Path, *more: str) -> Job:
    overrides = [*TINY, f"dataset.root={place}/data", f"outputs={place}/outputs", "trainer.accelerator=cpu", *more]
    return Job(compose_config("run", overrides), overrides=overrides)


@pytest.fixture
def earlier(tmp_path: Path) -> RunDir:
    """A begun run, as an earlier version would have frozen its config."""
    make_folds(job(tmp_path))
    run = RunDir.of(tmp_path / "outputs", "a")
    lines = run.config.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line != "  mean: logits\n"]
    assert len(kept) == len(lines) - 1
    run.config.write_text("".join(kept), encoding="utf-8")
    return run


def test_a_new_run_freezes_the_mean_of_logits(tmp_path: Path) -> None:
    again = job(tmp_path)
    make_folds(again)
    config = RunDir.of(tmp_path / "outputs", "a").config
    assert states(config, "inference.mean")
    assert thaw(config).inference.mean == again.config.inference.mean == "logits"
    make_folds(job(tmp_path, "inference.mean=logits"))
    with pytest.raises(ConfigError, match=r"inference\.mean: 'logits' in the run, 'probs' asked for"):
        make_folds(job(tmp_path, "inference.mean=probs"))


def test_an_earlier_run_goes_on_as_it_was_begun_unless_this_call_asks_otherwise(
    earlier: RunDir, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    assert not states(earlier.config, "inference.mean")
    again = job(tmp_path)
    make_folds(again)
    assert again.config.inference.mean == "probs"
    assert "was begun before there was inference.mean and goes on with probs" in caplog.text
    assert Job.reopen(str(tmp_path / "outputs"), "a").config.inference.mean == "probs"
    make_folds(job(tmp_path, "inference.mean=probs"))
    with pytest.raises(ConfigError, match=r"inference\.mean: 'probs' in the run, 'logits' asked for"):
        make_folds(job(tmp_path, "inference.mean=logits"))


def test_overwriting_goes_on_with_an_earlier_run_that_it_began_and_replaces_any_other(tmp_path: Path) -> None:
    run = RunDir.of(tmp_path / "outputs", "a")
    for begun_with, mean in (["overwrite=true"], "probs"), ([], "logits"):
        make_folds(job(tmp_path, *begun_with))
        text = run.config.read_text(encoding="utf-8").replace("  mean: logits\n", "")
        run.config.write_text(text, encoding="utf-8")
        again = job(tmp_path, "overwrite=true")
        make_folds(again)
        assert again.config.inference.mean == thaw(run.config).inference.mean == mean
        run.clear()


def test_later_stages_refuse_what_is_asked_for_by_name_and_is_not_so(earlier: RunDir) -> None:
    recorded = [*TINY, "trainer.accelerator=cpu"]
    assert reopen(earlier.config, recorded, []).inference.mean == "probs"
    for asked in ("inference.mean=logits", "inference=plain"):
        with pytest.raises(ConfigError, match=r"inference\.mean: 'probs' in the run, 'logits' asked for"):
            reopen(earlier.config, recorded, [asked])


def test_the_seals_of_a_fold_and_of_the_test_notice_another_mean(earlier: RunDir) -> None:
    text = earlier.config.read_text(encoding="utf-8")
    for stage in ("fold", "tune", "predict"):
        before = fingerprint(earlier.config, SETTINGS[stage])
        earlier.config.write_text(text.replace("  tune_for:", "  mean: logits\n  tune_for:"), encoding="utf-8")
        assert thaw(earlier.config).inference.mean == "logits"
        assert fingerprint(earlier.config, SETTINGS[stage]) != before
        earlier.config.write_text(text, encoding="utf-8")
        assert fingerprint(earlier.config, SETTINGS[stage]) == before
