"""`make folds`: begin a run. Its config is frozen, its images are divided into folds."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Divide the images into folds and show how even they are."""
    config = resolve(raw)
    from saltern import pipeline
    from saltern.data.folds.leaks import read_folds_report

    job = pipeline.Job(config, ProgressLine(), console.task_overrides())
    pipeline.make_folds(job)
    report = read_folds_report(job.run.folds_report)
    shares = [vars(share) for share in report.shares]
    console.table(str(job.run.folds), list(shares[0]) if shares else [], [list(share.values()) for share in shares])
    for key, value in report.mosaics.items():
        console.say(f"  {key}: {value}")
    for line in [*report.neighbours.get("lines", []), *report.resemblance.get("lines", [])]:
        console.say(f"  {line}")
    if job.run.mosaics.exists():
        console.say(str(job.run.mosaics))


if __name__ == "__main__":
    console.enter(main)
