"""`make train`: every stage in order. With -m and some of the folds, only those are trained."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import ConfigError, RunConfig, ScoreConfig, SubmissionConfig, resolve
from saltern.runs import RunDir


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Train and finish the run that the overrides describe."""
    config: RunConfig = resolve(raw)
    run = RunDir.of(config.outputs, config.name)
    part = console.is_multirun() and config.trainer.folds is not None
    if part and config.overwrite:
        raise ConfigError("overwrite=true: each job would delete the folds of the others; leave it out with -m.")
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine(), console.task_overrides())
    pipeline.train(job, finish=not part)
    if not job.runtime.group.is_main:
        return
    if not part:
        console.show_run(job)
        truth = job.material.dataset.root / "test_truth.csv"
        same_form = config.submission == SubmissionConfig()
        if truth.exists() and run.submission.exists() and same_form:  # the sample data set comes with the answer
            scores = pipeline.score_submission(ScoreConfig(submission=str(run.submission), truth=str(truth)))
            console.show_scores(f"{run.submission} against {truth}", scores)
        console.show_outcome(job)
    else:
        console.say(
            f"{run.path}: folds {config.trainer.folds} are trained; `make tune name={config.name}` finishes the run"
        )


if __name__ == "__main__":
    console.enter(main, stopped="the last finished epoch is kept; the same command goes on from there")
