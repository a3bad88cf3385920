"""`make preview`: a contact sheet of augmented training images with outlined masks."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="run")
@console.answering
def main(raw: DictConfig) -> None:
    """Draw what the network will be shown."""
    config = resolve(raw)
    from saltern import pipeline

    console.say(str(pipeline.preview(pipeline.Job(config, ProgressLine()))))


if __name__ == "__main__":
    console.enter(main)
