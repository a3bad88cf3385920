"""`make tensorboard`: curves, pictures and settings of the runs. A script tensorboard.py would hide the package."""

import threading

import console
import hydra
from omegaconf import DictConfig

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="tensorboard")
@console.answering
def main(raw: DictConfig) -> None:
    """Serve until Ctrl-C."""
    config = resolve(raw)
    from saltern.report.board import serve

    console.say(f"TensorBoard shows {config.outputs}: {serve(config)}\nCtrl-C ends it")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.say("ended")


if __name__ == "__main__":
    console.enter(main, groups=False)
