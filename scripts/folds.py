"""`make folds`: begin a run. Its config is frozen, its images are divided into folds."""

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
def main(raw: DictConfig) -> None:
    """Divide the images into folds and show how even they are."""
    config = resolve(raw)
    from saltern import pipeline

    job = pipeline.Job(config, console.ProgressLine(), console.task_overrides())
    summary = pipeline.summarise_folds(job, pipeline.make_folds(job))
    console.table(str(job.run.folds), list(summary.columns), summary.to_numpy().tolist())


if __name__ == "__main__":
    console.enter(main)
