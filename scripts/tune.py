"""`make tune`: choose the decision on out-of-fold probabilities."""

import console
import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
def main(raw: DictConfig) -> None:
    """Tune the decision of the run that name= names; where it has a submission, renew what follows from it."""
    config = console.existing_run(raw)
    from saltern import pipeline

    job = pipeline.Job(config, console.ProgressLine())
    pipeline.tune_decision(job)
    console.show_run(job)


if __name__ == "__main__":
    console.enter(main)
