"""`make submit`: write the submission, read it back, prove it."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Write and prove the submission."""
    config = console.existing_run(raw)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    proof = pipeline.write_submission(job)
    console.show_proof(job, proof)


if __name__ == "__main__":
    console.enter(main)
