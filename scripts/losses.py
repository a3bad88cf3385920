"""`make losses`: which loss is better on these data?"""

import sys

import console
import hydra
from omegaconf import DictConfig
from terminal import ProgressLine

from saltern.config import LaboratoryConfig, resolve


@hydra.main(version_base="1.3", config_path="../configs", config_name="losses")
@console.answering
def main(raw: DictConfig) -> None:
    """Train what is missing, and say what the losses are worth."""
    config: LaboratoryConfig = resolve(raw)
    from saltern import pipeline
    from saltern.report.loss_table import conclusion, verdict

    folder, rows, said = pipeline.train_losses(config, console.task_overrides(), ProgressLine())
    columns = ["loss", "seeds", "rate", "score", "difference", "low", "high", "verdict"]
    shown = []
    for row in rows:
        cells = row.cells()
        span = [cells["difference"], cells["low"], cells["high"]]
        shown.append([row.name, cells["seeds"], f"{cells['rate']:.2g}", row.score, *span, verdict(row)])
    console.table(str(folder.table), columns, shown)
    conclusions = [conclusion(row) for row in rows if row.tuned is not None]
    console.answer("\n".join([*said, *conclusions]))
    console.say(f"  {folder.report}")


if __name__ == "__main__":
    # an experiment names a file of the laboratory too, so none has a name here
    sys.argv = ["experiment=plain" if text == "experiment=null" else text for text in sys.argv]
    console.enter(main, stopped="finished runs and epochs are kept; the same command goes on from there")
