"""How much of a data set is read at once: every limit, in one place, and what is refused before it is opened."""

import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from saltern.errors import DataError

MAX_PIXELS = 1 << 27
"""134 million pixels an image (11,585 x 11,585); a file that claims more is taken for damaged."""
MAX_IMAGE_BYTES = 8 * MAX_PIXELS
"""1 GiB an image file: four channels of 16 bits each, uncompressed."""
MAX_PIXELS_AT_ONCE = 1 << 26
"""67 million pixels decoded at the same time by all threads, about 1 GB; one larger image is decoded alone."""
MAX_TABLE_BYTES = 1 << 30
"""1 GiB a CSV."""
MAX_LIST_BYTES = 1 << 24
"""16 MiB a list of names: about a million."""
MAX_CELLS = 10_000_000
"""Cells of a CSV, rows times columns: five million rows of an id and a mask."""
MAX_CELL = 1 << 26
"""67 million characters in one cell of a CSV: the run lengths of five million runs."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path, most: int) -> None:
    """Refuse what is no regular file, such as a pipe, which would be waited for, and files of more than `most` bytes.

    Raises:
        DataError: says which, also where there is nothing, or a link that leads nowhere.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise DataError(f"{path}: a link to {path.readlink()}, which is not there.") from None
        raise DataError(f"{path}: no such file.") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}; expected a file.")
    if found.st_size > most:
        raise DataError(f"{path}: {found.st_size:,} bytes; at most {most:,} are read of a file of its kind.")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises:
        DataError: see `require_file`; also a file that cannot be read.
    """
    require_file(path, most)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


class Allowance:
    """An amount that threads share: who wants more than is left waits; more than there is at all is held alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Wait for `amount`, and give it back on leaving. Not to be nested: it would wait for itself."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + amount <= self._most)
            self._held += amount
        try:
            yield
        finally:
            with self._changed:
                self._held -= amount
                self._changed.notify_all()


PIXELS = Allowance(MAX_PIXELS_AT_ONCE)
"""Held, in pixels, while an image and what is made of it are in memory."""
