"""`make ensemble`: several runs → a run of its own."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="ensemble")
@console.answering
def main(raw: DictConfig) -> None:
    """Average the runs, tune, submit and report the mean."""
    config = resolve(raw)
    from saltern import pipeline

    job = pipeline.ensemble_runs(config, ProgressLine())
    console.show_run(job)
    console.show_outcome(job)


if __name__ == "__main__":
    console.enter(main)
