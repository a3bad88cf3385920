"""`make bundle`: a finished run as a folder and a zip that predict without a network."""

from typing import TYPE_CHECKING

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import BundleConfig, resolve

if TYPE_CHECKING:
    from saltern.pipeline.bundling import Bundled


@hydra.main(version_base="1.3", config_path="../configs", config_name="bundle")
@console.answering
def main(raw: DictConfig) -> None:
    """Write the bundle."""
    asked: BundleConfig = resolve(raw)
    config = console.existing_run(raw, BundleConfig)
    from saltern import pipeline

    show(pipeline.bundle_run(pipeline.Job(config, ProgressLine()), asked))


def show(done: "Bundled") -> None:
    """What it holds, and how it is used."""
    seal, bundle = done.seal, done.bundle
    console.say(f"{bundle.path}: {len(seal.members)} networks in {seal.weights}, {seal.python}")
    if seal.compared is not None:
        found = seal.compared
        console.say(
            f"fp16 against the weights as trained, on {found.images} images: {found.differing} of {found.pixels} "
            f"pixels differ, at most {found.most} in an image; probabilities by at most {found.probability:.2g}"
        )
    wheels = sorted(path.name for path in bundle.wheels.iterdir())
    console.say("\n".join(["wheels:", *(f"  {name}" for name in wheels)]))
    console.say(f"  {done.archive}, {done.archive.stat().st_size / 1e6:.1f} MB")
    console.say(
        "there:  pip install --no-index --find-links bundle/wheels saltern;  python bundle/predict.py IMAGES OUT.csv"
    )


if __name__ == "__main__":
    console.enter(main)
