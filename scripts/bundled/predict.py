"""The submission of a folder of images, by this bundle alone: predict.py IMAGES OUT.csv."""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Predict; 2 where there is something to mend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of images, nested ones too")
    parser.add_argument("out", type=Path, metavar="OUT.csv", help="the submission that is written")
    parser.add_argument("--sample", type=Path, help="sample_submission.csv: its ids, in its order")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), help="where to compute")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        from saltern.errors import SalternError
        from saltern.pipeline.bundled import predict_bundle
    except ModuleNotFoundError as error:
        print(f"{error}. Install what the bundle brings along:", file=sys.stderr)
        print(f"  {sys.executable} -m pip install --no-index --find-links {HERE / 'wheels'} saltern", file=sys.stderr)
        return 2
    for name, level in (("saltern", logging.INFO), ("lightning_fabric", logging.WARNING)):
        logging.getLogger(name).setLevel(level)  # which its own import sets
    try:
        proof = predict_bundle(
            HERE, given.images, given.out, given.sample, accelerator=given.accelerator, progress=progress_lines()
        )
    except SalternError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {proof.rows} rows, {proof.empty} of them empty; read back and proven")
    return 0


def progress_lines() -> Any:
    """A line every ten seconds; saltern is known to be there."""
    from saltern.progress import Progress

    class Lines(Progress):
        def begin(self, label: str, total: int) -> None:
            self.label, self.total, self.done, self.began = label, total, 0, time.monotonic()
            self.said = self.began

        def advance(self, amount: int, **values: float) -> None:
            self.done += amount
            now = time.monotonic()
            if now - self.said >= 10:
                self.said, rate = now, self.done / (now - self.began)
                print(f"{self.label}: {self.done} of {self.total}, {rate:.1f}/s", file=sys.stderr, flush=True)

    return Lines()


if __name__ == "__main__":
    sys.exit(main())
