"""Decoded pixels, read once: in memory, or past a limit in a memory-mapped file."""

import hashlib
import json
import logging
import os
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

from saltern.config import DatasetConfig
from saltern.data.loading.geometry import scale_image, scale_mask, scaled_size
from saltern.data.loading.threads import in_threads
from saltern.data.source.dataset import PARTS, Dataset, Sample, samples_of
from saltern.data.source.problems import Problems, caught
from saltern.errors import StorageError
from saltern.files import atomic, clear_leftovers
from saltern.hold import hold

_LOG = logging.getLogger(__name__)
_FORMAT = 2
"""Raised when the bytes of a cache file change their meaning."""
_DIGEST = 32
"""Bytes of the checksum at the end of a cache file."""
_BLOCK = 16 << 20
"""Bytes that one thread sums up at a time."""


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
        self.empty = table["coverage"].eq(0).to_numpy(dtype=bool)
        """Which rows have no foreground, bool (N,); those without truth are none of them."""
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self.samples)

    def image(self, row: int) -> np.ndarray:
        """The image of a row, uint8 (H, W, 3), scaled size; not to be written to."""
        return scale_image(self._dataset.read_image(self.samples[row]), self.scaled[row])

    def mask(self, row: int) -> np.ndarray:
        """The truth of a row, uint8 (H, W) in {0, 1, 255}, scaled size; not to be written to."""
        return scale_mask(self._dataset.read_mask(self.samples[row]), self.scaled[row])

    def image_at_native_size(self, row: int) -> np.ndarray:
        """The image of a row as stored, uint8 (H, W, 3)."""
        return self._dataset.read_image(self.samples[row])

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
            StorageError: the cache file cannot be written.
        """
        super().__init__(dataset, table, config)
        self._starts = np.concatenate([[0], np.cumsum([_row_bytes(*item) for item in self._shapes()])]).astype(np.int64)
        self._truths: dict[int, bytes] = {}
        if file is None:
            self._bytes = self._fill(np.empty(self._starts[-1], np.uint8))
            return
        try:
            self._bytes = self._mapped(file)
        except StorageError as error:
            raise StorageError(f"{error} Set dataset.cache_dir to another folder, or dataset.cache=none.") from error

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
        """See `ImageSource.truth`; where images are scaled, read once from the file and kept packed."""
        if self.scaled[row] == self.native[row]:
            return self.mask(row)
        if row not in self._truths:
            self._truths[row] = zlib.compress(super().truth(row).tobytes(), 1)
        return np.frombuffer(zlib.decompress(self._truths[row]), np.uint8).reshape(self.native[row])

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
        """The pixels in `file`, written first where it is not there: by one process, for which others wait."""
        size = int(self._starts[-1])
        if file.is_file() and self._is_sound(file, size):
            return np.memmap(file, np.uint8, "r", shape=(size,))
        with hold(file.parent / ".held" / file.name, str(file), wait=True):
            if file.is_file() and not self._is_sound(file, size):
                _LOG.warning("%s: the cache is cut or was altered; decoded anew", file)
                file.unlink()
            if not file.is_file():
                clear_leftovers(file.parent)
                _LOG.info("decoding %d images into %s (%d MB)", len(self), file, size >> 20)
                self._write(file, size)
        return np.memmap(file, np.uint8, "r", shape=(size,))

    def _is_sound(self, file: Path, size: int) -> bool:
        if file.stat().st_size != size + _DIGEST:
            return False
        content = np.memmap(file, np.uint8, "r")
        return bytes(content[size:]) == _checksum(content[:size])

    def _write(self, file: Path, size: int) -> None:
        with atomic(file) as temporary:
            with temporary.open("wb") as stream:  # a full disk would kill the process at a later write
                os.posix_fallocate(stream.fileno(), 0, size + _DIGEST)
            mapped = np.memmap(temporary, np.uint8, "r+", shape=(size + _DIGEST,))
            self._fill(mapped[:size])
            mapped[size:] = np.frombuffer(_checksum(mapped[:size]), np.uint8)
            mapped.flush()
            del mapped


def open_source(dataset: Dataset, table: pd.DataFrame, config: DatasetConfig, *, shared: bool = False) -> ImageSource:
    """The pixels of `table` (such as `dataset.train`), cached as `config.cache` asks; `device` as `auto`, in the host.

    Where they are `shared` by several processes of this machine they are decoded once, into a cache file, in place of
    once a process, into memory.

    A cache file is named by a hash of everything its bytes depend on: the files' contents, ids, order, mask values,
    scaling. So it is found again by any run that needs the same bytes, and never by another.

    Raises:
        DataError: lists every file that cannot be decoded.
    """
    if config.cache == "none" or not len(table):
        return ImageSource(dataset, table, config)
    fits = config.cache in ("auto", "device") and _megabytes(table, config) <= config.cache_mb
    in_memory = config.cache == "memory" or fits
    if in_memory and not shared:
        return ImageCache(dataset, table, config)
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


def _checksum(content: np.ndarray) -> bytes:
    """SHA-256 of the SHA-256 of every block: as fast as memory where there are threads enough."""
    blocks = [content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK)]
    return hashlib.sha256(b"".join(in_threads(lambda block: hashlib.sha256(block.data).digest(), blocks))).digest()


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
