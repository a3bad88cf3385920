"""The submission of a folder of images, by this bundle alone: predict.py IMAGES OUT.csv."""

import argparse
import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Predict; 2 where there is something to mend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, metavar="IMAGES", help="folder of images, nested ones too")
    parser.add_argument("out", type=Path, metavar="OUT.csv", help="the submission that is written")
    parser.add_argument("--sample", type=Path, help="sample_submission.csv: its ids, in its order")
    parser.add_argument("--accelerator", choices=("auto", "cpu", "cuda"), help="where to compute")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        from saltern.errors import SalternError
        from saltern.pipeline.bundled import predict_bundle
    except ModuleNotFoundError as error:
        print(f"{error}. Install what the bundle brings along:", file=sys.stderr)
        print(f"  {sys.executable} -m pip install --no-index --find-links {HERE / 'wheels'} saltern", file=sys.stderr)
        return 2
    try:
        proof = predict_bundle(HERE, given.images, given.out, given.sample, accelerator=given.accelerator)
    except SalternError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print(f"{given.out}: {proof.rows} rows, {proof.empty} of them empty; read back and proven")
    return 0


if __name__ == "__main__":
    sys.exit(main())
