"""How much one import may unpack."""

from dataclasses import dataclass

from saltern.errors import DataError

MAX_BYTES = 400 << 30
"""More than this unpacked is taken for an attack or a mistake."""
MAX_FILES = 300_000
"""Entries of an archive, and files of an import: their table is held in memory."""
MAX_RATIO = 300
"""Unpacked over packed bytes; data of images stays far below, and zip itself can reach about 1,000 …"""
RATIO_FROM = 256 << 20
"""… but only from this many unpacked bytes on."""
MIN_PACKED = 16
"""Packed bytes a file; an image has hundreds …"""
FILES_FROM = 50_000
"""… but only from this many files on."""
MAX_DEPTH = 3
"""Archives within archives within archives."""


@dataclass
class Budget:
    """What one import has unpacked, held against what is sensible."""

    packed: int
    """Bytes of the archives themselves."""
    files: int = 0
    bytes: int = 0

    def take(self, size: int, where: str) -> None:
        """Count bytes; DataError where they become absurdly many."""
        self.bytes += size
        if self.bytes > MAX_BYTES:
            raise DataError(f"{where}: more than {MAX_BYTES >> 30} GiB unpacked; refused as absurd.")
        if self.bytes > max(RATIO_FROM, MAX_RATIO * self.packed):
            raise DataError(
                f"{where}: {self.packed:,} packed bytes become over {MAX_RATIO} times as many; refused as a bomb."
            )

    def count(self, where: str) -> None:
        """Count a file; DataError where they become too many."""
        self.files += 1
        if self.files > MAX_FILES:
            raise too_many(where)
        if self.files > FILES_FROM and self.files * MIN_PACKED > self.packed:
            raise DataError(
                f"{where}: {self.packed:,} packed bytes become over {self.files:,} files; refused as a bomb."
            )


def too_many(where: str) -> DataError:
    """The error for an archive of more entries than an import takes."""
    return DataError(
        f"{where}: more than {MAX_FILES:,} files; refused as absurd. If that is meant, unpack it yourself and set "
        "dataset.root to the folder."
    )
