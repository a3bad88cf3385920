"""`make lr`: a learning-rate range test, before a run is begun."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import LrConfig, resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="lr")
@console.answering
def main(raw: DictConfig) -> None:
    """Name the rate, and the override that uses it."""
    config: LrConfig = resolve(raw)
    from saltern import pipeline

    done = pipeline.lr_range(pipeline.Job(config, ProgressLine()))
    test, rate = done.test, done.test.suggestion
    end = f"the loss diverged at {test.diverged_at:.2g}" if test.diverged_at else "the loss never diverged"
    console.say(f"{len(test.rates)} steps from {test.rates[0]:.2g} to {test.rates[-1]:.2g}; {end}")
    if rate is None:
        console.answer("the loss does not fall at any of these rates; try other low= and high=, or more steps=")
    else:
        console.answer(f"schedule.phases.{done.phase}.lr={rate:.2g}")
    console.say(f"  {done.picture}\n  {done.table}")


if __name__ == "__main__":
    console.enter(main, stopped="nothing was written; no run was begun")
