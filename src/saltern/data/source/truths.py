"""What a run was scored on, image by image: hashes of the truth and of the image's file, kept as `truth.csv`."""

import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from saltern.data.source.csvs import read_csv
from saltern.data.source.limits import MAX_IMAGE_BYTES, read_bytes
from saltern.errors import DataError, RunError
from saltern.files import atomic

COLUMNS = ("id", "truth", "image")
BYTES = 16
"""Of a hash; twice as many hexadecimal digits."""


class Hashes(NamedTuple):
    """Those of one image."""

    truth: str
    """Of the target: see `hash_truth`."""
    image: str
    """Of the image's file: see `hash_file`."""


def hash_truth(target: np.ndarray) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of the shape and bytes of `target`, uint8 (H, W) in {0, 1, 255}, native size."""
    assert target.dtype == np.uint8, f"a target of {target.dtype}"
    found = blake2b(np.array(target.shape, "<i8").tobytes(), digest_size=BYTES)
    found.update(np.ascontiguousarray(target).data)
    return found.hexdigest()


def hash_file(path: Path) -> str:
    """BLAKE2b (16 bytes, hexadecimal) of a file's bytes, whatever they decode to.

    Raises:
        DataError: the file cannot be read, or is larger than an image may be.
    """
    return blake2b(read_bytes(path, MAX_IMAGE_BYTES), digest_size=BYTES).hexdigest()


def write_truths(path: Path, truths: Mapping[str, Hashes]) -> None:
    """Write `truths`, id → hashes, as CSV in one step, sorted by id."""
    rows = [(name, *truths[name]) for name in sorted(truths)]
    with atomic(path) as temporary:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(temporary, index=False)


def read_truths(path: Path) -> dict[str, Hashes]:
    """Read what `write_truths` has written: id → hashes.

    Raises:
        RunError: the file is missing, is no such table, or holds an id twice or something that is no hash.
    """
    try:
        table = read_csv(path, COLUMNS)
    except DataError as error:
        raise RunError(f"{error}\nRun `make tune` again, which writes it.") from error
    if table["id"].duplicated().any():
        raise RunError(
            f"{path}: {table['id'][table['id'].duplicated()].iloc[0]!r} stands there twice; run `make tune`."
        )
    form = re.compile(f"[0-9a-f]{{{2 * BYTES}}}")
    for name in ("truth", "image"):
        wrong = table[name][[form.fullmatch(text) is None for text in table[name]]]
        if len(wrong):
            raise RunError(
                f"{path}: {wrong.iloc[0][:80]!r} in the column {name} is no hash of {2 * BYTES} hexadecimal digits; "
                "run `make tune` again, which writes the file."
            )
    values = zip(*(table[name].tolist() for name in COLUMNS), strict=True)
    return {name: Hashes(truth, image) for name, truth, image in values}
