"""`make predict`: the mean over folds, views and kept weights, of the test images or of any folder of images."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import PredictConfig, resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="predict")
@console.answering
def main(raw: DictConfig) -> None:
    """Predict with every finished fold."""
    asked: PredictConfig = resolve(raw)
    config = console.existing_run(raw, PredictConfig)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    if asked.images is None:
        pipeline.predict_test(job)
        if job.runtime.group.is_main:
            console.say(f"{job.run.test}: test probabilities")
        return
    done = pipeline.predict_images(job, asked)
    if job.runtime.group.is_main:
        console.show_predicted(done)


if __name__ == "__main__":
    console.enter(main, stopped="parts that are done are kept; the same command goes on from there")
