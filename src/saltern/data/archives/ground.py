"""The new folder that an import fills: every path below it is made here, of a name that was checked."""

import zlib
from collections.abc import Iterable
from pathlib import Path

from saltern.data.archives.names import folded, plain_parts, shown
from saltern.errors import DataError


class Ground:
    """A folder, made anew, in which no name is written twice, by whatever spelling a system takes for the same."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder.resolve()
        self.written: dict[str, int] = {}
        """Each file below the folder, with / between the parts → the CRC-32 of its content."""
        self._taken: dict[str, str] = {}  # folded → as written, a folder with / at its end

    def write(self, name: str, chunks: Iterable[bytes], where: str) -> Path:
        """Write a new file `name`, a path below the folder, for the archive `where`; gives where it lies.

        Raises:
            DataError: no plain path, or it is taken: by a file, a folder, or a twin in case or accents.
            OSError: the disk.
        """
        parts = plain_parts(name, where)
        name = "/".join(parts)
        self._claim(name, parts, where)
        path = self.folder.joinpath(*parts)
        check = 0
        with path.open("xb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                check = zlib.crc32(chunk, check)
        self.written[name] = check
        return path

    def remove(self, name: str) -> None:
        """Delete a file that was written here; its name is free again."""
        del self.written[name]
        del self._taken[folded(name)]
        (self.folder / name).unlink()

    def _claim(self, name: str, parts: tuple[str, ...], where: str) -> None:
        """Make the folders of `name`, and note that it is taken."""
        parent = "/".join(parts[:-1])
        if parent and self._taken.get(folded(parent)) != f"{parent}/":
            for count in range(1, len(parts)):
                self._make("/".join(parts[:count]), where)
        self._refuse_taken(name, where)
        self._taken[folded(name)] = name

    def _make(self, folder: str, where: str) -> None:
        if self._taken.get(folded(folder)) == f"{folder}/":
            return
        self._refuse_taken(folder, where)
        path = self.folder / folder
        path.mkdir()
        assert path.resolve().is_relative_to(self.folder), "a checked name that leaves its folder"
        self._taken[folded(folder)] = f"{folder}/"

    def _refuse_taken(self, name: str, where: str) -> None:
        taken = self._taken.get(folded(name))
        if taken is None:
            return
        if taken.rstrip("/") == name:
            why = "is there twice" if taken == name else "is both a file and a folder"
        else:
            why = f"and {shown(taken)} are one name on many systems"
        raise DataError(f"{where}: {shown(name)} {why}; nothing is overwritten. Rename one and pack the archive anew.")
