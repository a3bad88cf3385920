"""Decoded pixels, read once: in memory, or past a limit in a memory-mapped file."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from saltern.config import DatasetConfig
from saltern.data.loading.geometry import scale_image, scale_mask, scaled_size
from saltern.data.source.dataset import PARTS, THREADS, Dataset, Sample, samples_of
from saltern.data.source.problems import Problems, caught
from saltern.errors import DataError
from saltern.files import temporary_beside

_LOG = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")
_FORMAT = 1
"""Raised when the bytes of a cache file change their meaning."""


class ImageSource:
    """Pixels of the rows of one sample table, by position, decoded anew at each call.

    Images and masks come scaled as the dataset config asks (`resize`, `long_side`), not padded.
    """

    cached = False

    def __init__(self, dataset: Dataset, table: pd.DataFrame, config: DatasetConfig) -> None:
        self.samples = samples_of(table)
        self.native = [(int(item.height), int(item.width)) for item in self.samples]
        """(height, width) of every row's image as stored."""
        self.scaled = [scaled_size(size, config) for size in self.native]
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, row: int) -> np.ndarray:
        """The image of a row, uint8 (H, W, 3), scaled size; not to be written to."""
        return scale_image(self._dataset.read_image(self.samples[row]), self.scaled[row])

    def mask(self, row: int) -> np.ndarray:
        """The truth of a row, uint8 (H, W) in {0, 1, 255}, scaled size; not to be written to."""
        return scale_mask(self._dataset.read_mask(self.samples[row]), self.scaled[row])

    def truth(self, row: int) -> np.ndarray:
        """The truth of a row at native size, uint8 (H, W) in {0, 1, 255}: what scores are computed against."""
        return self._dataset.read_mask(self.samples[row])


class ImageCache(ImageSource):
    """The same pixels, decoded once into one block of bytes that worker processes share without copies."""

    cached = True

    def __init__(self, dataset: Dataset, table: pd.DataFrame, config: DatasetConfig, file: Path | None = None) -> None:
        """Decode every row with threads, into memory or, with `file`, into that file unless it is there already.

        Raises:
            DataError: lists every file that cannot be decoded.
        """
        super().__init__(dataset, table, config)
        self._starts = np.concatenate([[0], np.cumsum([_row_bytes(*item) for item in self._shapes()])]).astype(np.int64)
        self._bytes = self._fill(np.empty(self._starts[-1], np.uint8)) if file is None else self._mapped(file)

    def image(self, row: int) -> np.ndarray:
        """See `ImageSource.image`; a view into the cache."""
        height, width = self.scaled[row]
        start = self._starts[row]
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)

    def mask(self, row: int) -> np.ndarray:
        """See `ImageSource.mask`; a view into the cache."""
        if not self.samples[row].labelled:
            return super().mask(row)  # tells that there is none
        height, width = self.scaled[row]
        return self._bytes[self._starts[row + 1] - height * width : self._starts[row + 1]].reshape(height, width)

    def truth(self, row: int) -> np.ndarray:
        """See `ImageSource.truth`; from the cache where images are not scaled, else from the file."""
        return self.mask(row) if self.scaled[row] == self.native[row] else super().truth(row)

    def _shapes(self) -> list[tuple[tuple[int, int], bool]]:
        return [(size, item.labelled) for size, item in zip(self.scaled, self.samples, strict=True)]

    def _fill(self, buffer: np.ndarray) -> np.ndarray:
        problems = Problems(self._dataset.root)

        def decode(row: int) -> None:
            image = ImageSource.image(self, row)
            parts = [image.ravel()]
            if self.samples[row].labelled:
                parts.append(ImageSource.mask(self, row).ravel())
            np.concatenate(parts, out=buffer[self._starts[row] : self._starts[row + 1]])

        problems.sift("unreadable files", in_threads(caught(decode), range(len(self))))
        problems.raise_any()
        return buffer

    def _mapped(self, file: Path) -> np.ndarray:
        size = int(self._starts[-1])
        if not (file.is_file() and file.stat().st_size == size):
            _LOG.info("decoding %d images into %s (%d MB)", len(self), file, size >> 20)
            try:
                self._write(file, size)
            except OSError as error:
                raise DataError(
                    f"{file}: the cache could not be written ({error.strerror}); expected a folder with {size:,} bytes "
                    "left. Set dataset.cache_dir to another folder, or dataset.cache=none."
                ) from error
        return np.memmap(file, np.uint8, "r", shape=(size,))

    def _write(self, file: Path, size: int) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(file)
        try:
            with temporary.open("wb") as stream:
                os.posix_fallocate(stream.fileno(), 0, size)  # a full disk would kill the process at a later write
            mapped = np.memmap(temporary, np.uint8, "r+", shape=(size,))
            self._fill(mapped)
            mapped.flush()
            del mapped
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)


def open_source(
    dataset: Dataset, table: pd.DataFrame, config: DatasetConfig, *, read_once: bool = False
) -> ImageSource:
    """The pixels of `table` (such as `dataset.train`), cached as `config.cache` asks.

    With `read_once` (test images) they are never written to a cache file, which could not pay.

    A cache file is named by a hash of everything its bytes depend on: the files' contents, ids, order, mask values,
    scaling. So it is found again by any run that needs the same bytes, and never by another.

    Raises:
        DataError: lists every file that cannot be decoded.
    """
    if config.cache == "none" or not len(table):
        return ImageSource(dataset, table, config)
    in_memory = config.cache == "memory" or (config.cache == "auto" and _megabytes(table, config) <= config.cache_mb)
    if in_memory:
        return ImageCache(dataset, table, config)
    if read_once:
        return ImageSource(dataset, table, config)
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(config.cache_dir or Path(base) / "saltern").expanduser()
    return ImageCache(dataset, table, config, folder / f"{content_key(dataset, table, config)}.pixels")


def content_key(dataset: Dataset, table: pd.DataFrame, config: DatasetConfig) -> str:
    """A hash of everything that the cached bytes of `table` depend on; reads every file once, without decoding."""
    samples = samples_of(table)
    values = dataset.mask_values
    meaning = [
        sorted(group) if group is not None else None for group in (values.foreground, values.background, values.void)
    ]
    settings = [
        _FORMAT,
        config.resize,
        config.long_side,
        meaning,
        values.threshold,
        list(vars(dataset.rle_form).values()),
    ]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for part in in_threads(_file_digest, samples):
        digest.update(part)
    return digest.hexdigest()[:24]


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` of every item, in order, by a few threads: decoding leaves Python's lock free."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, items))


def _file_digest(sample: Sample) -> bytes:
    digest = hashlib.sha256(json.dumps([sample.id, sample.height, sample.width]).encode())
    for path in (sample.image, *sample.mask.split(PARTS)):
        digest.update(hashlib.sha256(Path(path).read_bytes() if path else (sample.rle or "").encode()).digest())
    return digest.digest()


def _row_bytes(size: tuple[int, int], labelled: bool) -> int:
    return size[0] * size[1] * (4 if labelled else 3)


def _megabytes(table: pd.DataFrame, config: DatasetConfig) -> float:
    samples = samples_of(table)
    return sum(_row_bytes(scaled_size((item.height, item.width), config), item.labelled) for item in samples) / (
        1 << 20
    )
