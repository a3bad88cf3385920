"""The formats by the ends of their names, and the one builder that reads them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from saltern.data.archives.names import shown
from saltern.data.archives.reading import Archive, reading
from saltern.data.archives.tars import TarArchive
from saltern.data.archives.zips import ZipArchive

FORMATS: dict[str, Callable[[IO[bytes], str], Archive]] = {
    ".zip": ZipArchive,
    ".tar": TarArchive,
    ".tar.gz": TarArchive,
    ".tgz": TarArchive,
    ".tar.bz2": TarArchive,
    ".tar.xz": TarArchive,
}


def is_archive(path: Path) -> bool:
    """Whether the name says so."""
    return path.name.lower().endswith(tuple(FORMATS))


def stem_of(path: Path) -> str:
    """The name of an archive without its suffix; not checked."""
    return path.name[: -len(_suffix(path))]


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """The archive at `path`.

    Raises:
        DataError: here and in all it gives: not readable, or not to be unpacked.
    """
    where = shown(path.name)
    with reading(where):
        raw = path.open("rb")
    with raw:
        with reading(where):
            archive = FORMATS[_suffix(path)](raw, where)
        yield archive


def _suffix(path: Path) -> str:
    return next(suffix for suffix in FORMATS if path.name.lower().endswith(suffix))
