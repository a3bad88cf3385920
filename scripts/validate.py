"""`make validate submission=FILE name=RUN`: examine any submission CSV, whoever wrote it, row by row."""

import sys
import time
from typing import TYPE_CHECKING

import console
import hydra
from omegaconf import DictConfig
from rich.text import Text
from terminal import verdict

from saltern.config import resolve

if TYPE_CHECKING:
    from saltern.submission.examine import Examination


@hydra.main(version_base="1.3", config_path="../configs/grading", config_name="validate")
@console.answering
def main(raw: DictConfig) -> None:
    """Print what is wrong with the file; exit with 1 where that is more than warnings."""
    config = resolve(raw)
    from saltern import pipeline

    began = time.perf_counter()
    found = pipeline.validate_submission(config)
    show(config.submission, found, time.perf_counter() - began)
    if not found.is_sound:
        sys.exit(1)


def show(path: str, found: "Examination", seconds: float) -> None:
    """What `make validate` found, in the file's order, a line a problem as compilers write it."""
    styles = {"error": "red", "warning": "yellow"}
    for item in found.findings.in_order():
        where = f"{path}:" if item.line is None else f"{path}:{item.line}:"
        said = Text.assemble(where, " ", (f"{item.severity}:", styles[item.severity]), f" {item.text}")
        console.console.print(said, soft_wrap=True)
    for text in found.findings.unshown():
        console.say(f"… and {text}; most=N shows more")
    counts = verdict(found.findings.count)
    console.answer(
        f"{path}: {found.rows:,} rows, {len(found.ids):,} ids, {found.empty:,} empty masks; {counts}; {seconds:.1f} s"
    )


if __name__ == "__main__":
    console.enter(main, groups=False)
