"""`make check`: what is wrong with this data set, before an hour is spent on it. Exit status 1 on errors."""

import sys

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Check the data set and print what was found."""
    config = resolve(raw)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    report = pipeline.check_dataset(job)
    console.show_dataset_report(job, report)
    if report.has_errors:
        sys.exit(1)


if __name__ == "__main__":
    console.enter(main)
