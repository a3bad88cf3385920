"""`make report`: write the run's page."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Write report.html from the run's artifacts."""
    config = console.existing_run(raw)
    from saltern import pipeline

    job = pipeline.Job(config, ProgressLine())
    pipeline.write_report(job)
    console.say(str(job.run.report))


if __name__ == "__main__":
    console.enter(main)
