"""`make tune`: choose the decision on out-of-fold probabilities, and finish the run."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Tune the decision of the run that name= names, and renew all that follows from it."""
    config = console.existing_run(raw)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    pipeline.finish_run(job)
    if job.runtime.group.is_main:
        console.show_run(job)
        console.show_outcome(job)


if __name__ == "__main__":
    console.enter(main)
