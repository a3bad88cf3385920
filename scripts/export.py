"""`make export`: a finished run's networks as ONNX files, each compared with torch before it is written."""

from typing import TYPE_CHECKING

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import ExportConfig, resolve

if TYPE_CHECKING:
    from saltern.pipeline.exporting import ExportedFile


@hydra.main(version_base="1.3", config_path="../configs", config_name="export")
@console.answering
def main(raw: DictConfig) -> None:
    """Export and compare."""
    asked: ExportConfig = resolve(raw)
    config = console.existing_run(raw, ExportConfig)
    from saltern import pipeline

    show(pipeline.export_run(pipeline.Job(config, ProgressLine()), asked))


def show(done: "list[ExportedFile]") -> None:
    """Every file with what was found when it was compared."""
    rows = [
        [item.path.name, item.networks, f"{item.path.stat().st_size / 1e6:.1f}", f"{item.parity.probability:.1e}",
         item.parity.differing, item.parity.pixels, item.parity.images]
        for item in done
    ]  # fmt: skip
    columns = ["file", "networks", "MB", "probabilities differ by", "pixels differ", "of", "images"]
    console.table(f"{done[0].path.parent}: beside torch", columns, rows)


if __name__ == "__main__":
    console.enter(main)
