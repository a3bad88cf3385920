"""One careful look at every image and mask of a data set: what the checks need to know, and no pixels."""

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saltern import rle
from saltern.data.check.truth import Alignment, align
from saltern.data.likeness.fingerprints import Fingerprint, grey_of, read_all, without_colour
from saltern.data.source.dataset import PARTS, Dataset, united
from saltern.data.source.images import read_values
from saltern.data.source.limits import PIXELS
from saltern.data.source.masks import VOID, distinct
from saltern.data.source.problems import caught
from saltern.errors import DataError
from saltern.progress import Progress

PNG_TYPES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""Colour type in a PNG's header → Pillow's name for it."""


@dataclass(frozen=True)
class Inspection:
    """One sample."""

    id: str
    test: bool
    mode: str
    """Pixel type of the image file: L (grey), RGB, P (palette), …, with the bits a channel where they are not 8."""
    fingerprint: Fingerprint
    mask_kind: str = ""
    """Pixel type of the mask file, `run lengths`, or empty without truth."""
    values: tuple[int, ...] = ()
    """The values in the mask file, at most 16 of them."""
    area: int = 0
    """Foreground pixels."""
    void: int = 0
    """Void pixels."""
    mask_digest: bytes = b""
    """Equal for equal targets."""
    rle_agrees: bool | None = None
    """Whether run lengths given beside a mask file hold the same mask; None: not both are there."""
    rle_note: str = ""
    """What is wrong with run lengths that disagree."""
    alignment: Alignment | None = None

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return self.fingerprint.size[0] * self.fingerprint.size[1]

    @property
    def labelled(self) -> bool:
        """The truth is known."""
        return bool(self.mask_kind)


def inspect_dataset(dataset: Dataset, progress: Progress | None = None) -> list[Inspection | DataError]:
    """Every sample, labelled ones first, in the order of the tables; reads every image and mask once, in threads.

    A sample whose files cannot be decoded is its error: opening a data set looks at the headers of most images only.
    """
    rows: list[tuple[bool, Any]] = [(False, row) for row in dataset.train.itertuples(index=False)]
    rows += [(True, row) for row in dataset.test.itertuples(index=False)]
    return read_all(rows, caught(partial(_inspect, dataset)), progress, "check images")


def _inspect(dataset: Dataset, item: tuple[bool, Any]) -> Inspection:
    test, row = item
    with PIXELS.hold(int(row.height) * int(row.width)):
        return _look(dataset, test, row)


def _look(dataset: Dataset, test: bool, row: Any) -> Inspection:
    image = without_colour(dataset.read_image(row))
    known: dict[str, Any] = {
        "id": row.id,
        "test": test,
        "mode": _mode(Path(row.image)),
        "fingerprint": Fingerprint.of(image),
    }
    if test or not (row.mask or isinstance(row.rle, str)):
        return Inspection(**known)
    if row.mask:
        paths = [Path(path) for path in row.mask.split(PARTS)]
        parts = [read_values(path) for path in paths]
        target = united([dataset.mask_values.target(*part) for part in zip(parts, paths, strict=True)])
        known["mask_kind"] = "; ".join(dict.fromkeys(map(_kind, paths)))
        known["values"] = tuple(sorted({int(value) for part in parts for value in distinct(part)})[:16])
        if isinstance(row.rle, str):
            known["rle_agrees"], known["rle_note"] = _compare(dataset, row, target)
    else:
        target = dataset.read_mask(row)
        known["mask_kind"] = "run lengths"
    return Inspection(
        **known,
        area=int(np.count_nonzero(target == 1)),
        void=int(np.count_nonzero(target == VOID)),
        mask_digest=hashlib.blake2b(target.tobytes(), digest_size=16).digest(),
        alignment=align(grey_of(image), target),
    )


def _mode(path: Path) -> str:
    with path.open("rb") as stream:
        head = stream.read(26)
    if head.startswith(b"\x89PNG") and len(head) == 26:
        return PNG_TYPES.get(head[25], "unknown") + (f", {head[24]} bits" if head[24] != 8 else "")
    with Image.open(path) as image:  # the header only; the pixels were read before
        return str(image.mode)


def _kind(path: Path) -> str:
    return f"{path.suffix.lower().removeprefix('.')}, {_mode(path)}"


def _compare(dataset: Dataset, row: Any, target: np.ndarray) -> tuple[bool, str]:
    """Whether the run lengths of a row hold `target` (its void pixels aside), and if not, why."""
    form, size = dataset.rle_form, (int(row.height), int(row.width))
    try:
        decoded = form.decode(row.rle, size, f"id {row.id!r}")
    except DataError as error:
        return False, str(error)
    if _same(decoded, target):
        return True, ""
    other = "row" if form.order == "column" else "column"
    if _same(rle.decode(row.rle, size, order=other, index_base=form.index_base, relative=form.relative), target):
        return False, f"they agree if pixels are counted by {other}"
    return False, f"{int(np.count_nonzero((decoded != target) & (target != VOID)))} pixels differ"


def _same(decoded: np.ndarray, target: np.ndarray) -> bool:
    return bool(((decoded == target) | (target == VOID)).all())
