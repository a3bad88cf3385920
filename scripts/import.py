"""`make import archive=FILE dataset=…`: unpack an archive into its layout, checked, in one step."""

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="import")
@console.answering
def main(raw: DictConfig) -> None:
    """Import the archive and say what lies where."""
    config = resolve(raw)
    from saltern.data.archives.place import import_archive

    imported = import_archive(config.archive, config.dataset, ProgressLine())
    dataset = imported.dataset
    done = "imported before, nothing changed" if imported.again else f"{imported.files:,} files unpacked"
    console.say(f"{dataset.root}: {done}; {len(dataset.train):,} labelled and {len(dataset.test):,} test images")


if __name__ == "__main__":
    console.enter(
        main,
        stopped="import stopped; the data set's folder is whole, as it was or new; run the same command again",
    )
