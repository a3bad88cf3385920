"""`make predict`: test probabilities as the mean over folds, views and kept weights."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Predict the test images with every finished fold."""
    config = console.existing_run(raw)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    pipeline.predict_test(job)
    if job.runtime.group.is_main:
        console.say(f"{job.run.test}: test probabilities")


if __name__ == "__main__":
    console.enter(main)
