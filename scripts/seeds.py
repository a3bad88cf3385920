"""`make seeds`: train a run again with other seeds, and measure how far its score moves."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import SeedsConfig, resolve
from saltern.runs import RunDir


@hydra.main(version_base="1.3", config_path="../configs", config_name="seeds")
@console.answering
def main(raw: DictConfig) -> None:
    """Train the seeds that are missing, and show the spread."""
    config: SeedsConfig = resolve(raw)
    from saltern import pipeline

    spread = pipeline.train_seeds(config, ProgressLine())
    columns = list(spread.columns)
    rows = [
        [name, seed, *(spread.columns[column].scores[place] for column in columns)]
        for place, (name, seed) in enumerate(zip(spread.runs, spread.seeds, strict=True))
    ]
    console.table(str(RunDir.of(config.outputs, config.name).seeds), ["run", "seed", *columns], rows)
    for column, found in spread.columns.items():
        low, high = found.interval
        console.answer(
            f"{column}: standard deviation between seeds {found.sd:.4f} (95 % interval {low:.4f} to {high:.4f})"
        )


if __name__ == "__main__":
    console.enter(main, stopped="finished runs and epochs are kept; the same command goes on from there", groups=False)
