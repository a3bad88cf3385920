"""`make compare`: are two runs really different?"""

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="compare")
def main(raw: DictConfig) -> None:
    """Compare the runs image by image."""
    config = resolve(raw)
    from saltern import pipeline

    path, rows = pipeline.compare_runs(config)
    console.table(str(path), list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    console.enter(main)
