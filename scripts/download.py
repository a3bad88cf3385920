"""`make download competition=NAME`: fetch a competition's archive with Kaggle's own command line."""

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="download")
@console.answering
def main(raw: DictConfig) -> None:
    """Download the archive and say how to go on."""
    config = resolve(raw)
    from saltern.data.archives.download import download_competition

    archive = download_competition(config.competition, config.target)
    console.answer(str(archive))
    console.say(f"next: make import archive={archive} dataset=… dataset.root=…")


if __name__ == "__main__":
    console.enter(main)
