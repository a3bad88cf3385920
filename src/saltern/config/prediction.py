"""What `make predict` takes beside the settings of its run."""

from dataclasses import dataclass
from pathlib import Path

from saltern.config.schema import RunConfig
from saltern.errors import ConfigError


@dataclass(kw_only=True)
class PredictConfig(RunConfig):
    """Prediction with a finished run, whose other settings are the frozen ones."""

    images: str | None = None
    """A folder of images, nested ones too, that the run's networks predict; null: the test images of the data set."""
    target: str | None = None
    """The folder for what is said of `images`: masks/, predictions.csv."""
    probs: bool = False
    """Also keep the probabilities of `images`, float16, in `target`/probs."""
    overlays: bool = False
    """Also draw `images` with their masks outlined, in `target`/overlays."""


def check_predict(config: PredictConfig) -> None:
    """Refuse half of a request, and what would be ignored.

    Raises:
        ConfigError: names the key that is wrong.
    """
    if config.images is None:
        for key in ("target", "probs", "overlays"):
            if getattr(config, key):
                raise ConfigError(
                    f"{key}={getattr(config, key)}: is for a folder of images alone; give images=FOLDER too."
                )
        return
    if not config.images:
        raise ConfigError("images='': expected a folder of images, or null for the test images of the data set.")
    if not config.target:
        raise ConfigError(
            f"target={config.target!r}: expected a folder for the masks, such as target=outputs/new_images."
        )
    images, target = (Path(place).expanduser().resolve() for place in (config.images, config.target))
    if images == target or images in target.parents or target in images.parents:
        raise ConfigError(
            f"target={config.target}: expected a folder apart from images={config.images}, or masks mix with images."
        )
