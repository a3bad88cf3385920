"""`make submit`: write the submission, read it back, prove it; with `message=…`, hand it to Kaggle."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import SubmitConfig, resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="submit")
@console.answering
def main(raw: DictConfig) -> None:
    """Write and prove the submission, or hand it in."""
    asked: SubmitConfig = resolve(raw)
    config = console.existing_run(raw, SubmitConfig)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    if asked.message is None:
        console.show_proof(job, pipeline.write_submission(job))
    else:
        console.say(f"{job.run.submission}: {pipeline.hand_in(job, asked.message, again=asked.again)}")


if __name__ == "__main__":
    console.enter(main)
