"""`make compare`: are two runs really different?"""

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="compare")
@console.answering
def main(raw: DictConfig) -> None:
    """Compare the runs image by image."""
    config = resolve(raw)
    from saltern import pipeline

    page, found = pipeline.compare_runs(config)
    columns = ["run", "baseline", "score", "images", "difference", "low", "high", "wins", "losses", "word"]
    console.table(str(page), columns, [[getattr(entry, column) for column in columns] for entry in found])
    for entry in found:
        console.answer(entry.verdict)


if __name__ == "__main__":
    console.enter(main)
