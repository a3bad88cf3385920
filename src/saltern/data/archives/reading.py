"""What reading an archive gives, of whatever format, and how its failures are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from saltern.errors import DataError

CHUNK = 1 << 18
"""Bytes read at once."""
REPACK = (
    "Unpack it with 7-Zip or unzip and set dataset.root to that folder, which needs no import, or pack it anew as a "
    "plain zip and import that."
)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive."""

    name: str
    """As the archive says; not checked."""
    size: int
    at: Any
    """Where its content lies, for the archive that gave it."""


class Archive(Protocol):
    """An opened zip or tar file."""

    def members(self) -> Iterator[Member]:
        """The files, without folders; DataError for what is not to be unpacked, whatever its name."""

    def chunks(self, member: Member) -> Iterator[bytes]:
        """The content of a file, at most CHUNK bytes at once."""


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Whatever zipfile and tarfile raise on damaged files, which is nearly every kind of error, as a DataError."""
    try:
        yield
    except DataError:
        raise
    except NotImplementedError as error:
        raise DataError(f"{where}: packed in a way that Python cannot read ({error}). {REPACK}") from error
    except Exception as error:
        raise damaged(where, f"{type(error).__name__}: {error}"[:300]) from error


def damaged(where: str, said: str) -> DataError:
    """The error for an archive that is cut, changed, or none at all."""
    return DataError(f"{where}: not readable as an archive ({said}). Download it again.")
