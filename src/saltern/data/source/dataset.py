"""The sample tables of a data set, and how the pixels of a row are read."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from saltern import rle
from saltern.data.source.images import read_rgb, read_size
from saltern.data.source.limits import PIXELS
from saltern.data.source.masks import VOID, MaskValues, coverage_of
from saltern.data.source.names import shown, unfit_id
from saltern.data.source.problems import Problems, caught
from saltern.errors import DataError

COLUMNS = ("id", "image", "mask", "rle", "height", "width", "coverage", "group")
"""Columns of every sample table, before the layout's own."""
THREADS = min(8, os.cpu_count() or 1)
_NUMBER = len(str(rle.FARTHEST)) + 1
"""Characters of a number in run lengths, at most, and the blank after it."""
PARTS = "\0"
"""Between several mask files, or several run lengths, of one row: parts of one mask."""


class Row(Protocol):
    """A row of a sample table, as `samples_of` and `table.itertuples()` give it.

    Not a pandas Series, whose `.mask` is a method.
    """

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def image(self) -> str: ...  # noqa: D102
    @property
    def mask(self) -> str: ...  # noqa: D102
    @property
    def rle(self) -> str | None: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Sample:
    """A row that can be sent to another process."""

    id: str
    image: str
    mask: str
    rle: str | None
    height: int
    width: int

    @property
    def labelled(self) -> bool:
        """Whether the truth is known."""
        return bool(self.mask) or self.rle is not None


def samples_of(table: pd.DataFrame) -> list[Sample]:
    """The rows of a sample table, in its order."""
    columns = ("id", "image", "mask", "rle", "height", "width")
    return [Sample(*values) for values in zip(*(table[name].tolist() for name in columns), strict=True)]


@dataclass(frozen=True)
class RleForm:
    """How run lengths that stand in for mask files are written; the default is that of TGS."""

    order: str = "column"
    index_base: int = 1
    relative: bool = False

    def decode(self, text: str, size: tuple[int, int], where: object) -> np.ndarray:
        """Mask uint8 (H, W) in {0, 1}; DataError where the text does not fit `size` = (height, width)."""
        longest = (size[0] * size[1] + 2) * _NUMBER  # of every other pixel a run of one
        if len(text) > longest:
            raise DataError(
                f"{where}: {len(text):,} characters of run lengths; those of an image of {size[0]} x {size[1]} "
                f"have at most {longest:,}."
            )
        try:
            return rle.decode(text, size, order=self.order, index_base=self.index_base, relative=self.relative)
        except rle.RleError as error:
            raise DataError(f"{where}: run lengths do not fit an image of {size[0]} x {size[1]}: {error}") from error


@dataclass(frozen=True)
class Dataset:
    """A data set that was found to keep its layout's promises.

    `train` and `test` have the columns COLUMNS and the layout's own (`depth`, `split`), a fresh index from 0, and
    are sorted by id; `test` is sorted as the sample submission is, where there is one. Texts are never missing but
    may be empty: `mask` (no file), `group`. `rle` is None where the layout names no run lengths for the row (an empty
    text is an empty mask). `coverage` is NaN where there is no truth, 0 where every pixel is void. Where several
    masks of one image are to be united, `mask` holds the paths and `rle` the texts with PARTS between them.
    """

    root: Path
    train: pd.DataFrame
    test: pd.DataFrame
    submission_ids: list[str] | None = None
    """The ids of `sample_submission.csv` in its order; None where there is no such file."""
    mask_values: MaskValues = field(default_factory=MaskValues)
    rle_form: RleForm = field(default_factory=RleForm)

    def read_image(self, row: Row) -> np.ndarray:
        """The image of a row, uint8 (H, W, 3), RGB.

        Raises:
            DataError: unreadable, or no longer of the size in the table.
        """
        image = read_rgb(Path(row.image))
        _check_size(image, row, row.image)
        return image

    def read_mask(self, row: Row) -> np.ndarray:
        """The truth of a row, uint8 (H, W) in {0, 1, 255}: from its file, or from its run lengths where it has none.

        Raises:
            DataError: the row has no truth, it is unreadable, of another size than the image, or has stray values.
        """
        return read_target(row, self.mask_values, self.rle_form)

    def has_truth(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows of `table` have a mask, bool (N,)."""
        return (table["mask"].ne("") | table["rle"].notna()).to_numpy(dtype=bool)


def read_target(row: Row, mask_values: MaskValues, rle_form: RleForm) -> np.ndarray:
    """See `Dataset.read_mask`."""
    if row.mask:
        return united([_mask_file(path, row, mask_values) for path in row.mask.split(PARTS)])
    if not isinstance(row.rle, str):
        raise DataError(f"{row.image}: no mask is known for the id {row.id!r}; test images have none.")
    size = int(row.height), int(row.width)
    return united([rle_form.decode(text, size, f"id {row.id!r}") for text in row.rle.split(PARTS)])


def united(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Parts of one mask, each uint8 (H, W) in {0, 1, 255}, as one: foreground wins over void, void over background."""
    if len(parts) == 1:
        return parts[0]
    ranked = np.array([0, 2, 1], np.uint8)[np.minimum(np.stack(parts), 2)]  # background, foreground, void
    return np.array([0, VOID, 1], np.uint8)[ranked.max(axis=0)]


def _mask_file(path: str, row: Row, mask_values: MaskValues) -> np.ndarray:
    target = mask_values.read(Path(path))
    _check_size(target, row, path)
    return target


def _check_size(pixels: np.ndarray, row: Row, path: str) -> None:
    found, expected = pixels.shape[:2], (row.height, row.width)
    if found != expected:
        raise DataError(
            f"{path}: {found[0]} x {found[1]} pixels (height x width); expected {expected[0]} x {expected[1]}, "
            f"the size of the image {Path(row.image).name}."
        )


@dataclass
class Entry:
    """A sample as a layout names it, before its files are opened."""

    id: str
    image: str
    mask: str = ""
    rle: str | None = None
    group: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    height: int = 0
    width: int = 0
    coverage: float = float("nan")


def measure(entries: Sequence[Entry], mask_values: MaskValues, rle_form: RleForm, problems: Problems) -> pd.DataFrame:
    """Open every file of `entries`: the sample table of those that are sound; the others become problems.

    So do ids that a later stage could not carry. Sizes come from the headers (a PNG's checksums are verified too),
    coverage from the decoded masks.
    """

    def opened(entry: Entry) -> Entry:
        entry.height, entry.width = read_size(Path(entry.image))
        if entry.mask or entry.rle is not None:
            with PIXELS.hold(entry.height * entry.width):
                entry.coverage = coverage_of(read_target(entry, mask_values, rle_form))
        return entry

    for entry in entries:
        if reason := unfit_id(entry.id):
            say = "expected an id that a submission and a file of probabilities can carry. Rename the image"
            problems.add("ids that cannot be carried", f"{entry.image}: the id {shown(entry.id)} {reason}; {say}")
    with ThreadPoolExecutor(THREADS) as threads:
        return table_of(problems.sift("unreadable or unfitting files", threads.map(caught(opened), entries)))


def table_of(entries: Sequence[Entry]) -> pd.DataFrame:
    """The sample table of measured entries, in their order."""
    content: dict[str, Any] = {
        "id": pd.Series([entry.id for entry in entries], dtype=str),
        "image": pd.Series([entry.image for entry in entries], dtype=str),
        "mask": pd.Series([entry.mask for entry in entries], dtype=str),
        "rle": pd.Series([entry.rle for entry in entries], dtype=object),
        "height": np.array([entry.height for entry in entries], dtype=np.int64),
        "width": np.array([entry.width for entry in entries], dtype=np.int64),
        "coverage": np.array([entry.coverage for entry in entries], dtype=np.float64),
        "group": pd.Series([entry.group for entry in entries], dtype=str),
    }
    for name in dict.fromkeys(name for entry in entries for name in entry.extra):
        content[name] = [entry.extra.get(name) for entry in entries]
    return pd.DataFrame(content)
