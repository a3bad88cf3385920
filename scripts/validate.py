"""`make validate submission=FILE name=RUN`: examine any submission CSV, whoever wrote it, row by row."""

import sys
import time

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs/grading", config_name="validate")
@console.answering
def main(raw: DictConfig) -> None:
    """Print what is wrong with the file; exit with 1 where that is more than warnings."""
    config = resolve(raw)
    from saltern import pipeline

    began = time.perf_counter()
    found = pipeline.validate_submission(config)
    console.show_examination(config.submission, found, time.perf_counter() - began)
    if not found.is_sound:
        sys.exit(1)


if __name__ == "__main__":
    console.enter(main, groups=False)
