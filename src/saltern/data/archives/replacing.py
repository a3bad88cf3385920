"""A new data set takes the place of an earlier import: what is the user's own stays, and a kill loses nothing."""

import json
import logging
import os
import shutil
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from saltern.data.archives.names import shown
from saltern.errors import DataError
from saltern.files import delete, temporary_beside

log = logging.getLogger(__name__)

MANIFEST = "import.json"
"""Written into the data set: which archives it came from, and which files they gave."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What an import noted."""

    digest: str
    """Of the archives."""
    written: Mapping[str, int] | None
    """Each file → the CRC-32 of its content; None where an older version of Saltern made no such list."""


def read_manifest(root: Path) -> Manifest | None:
    """What the import that made `root` noted; None where nothing readable is there."""
    try:
        content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or "digest" not in content:
        return None
    written = content.get("written")
    sound = isinstance(written, dict) and all(isinstance(check, int) for check in written.values())
    return Manifest(str(content["digest"]), written if sound else None)


@dataclass
class Belongings:
    """What lies in the folder of an earlier import and is the user's: never written by it, or changed since."""

    root: Path
    before: Mapping[str, int]
    """What the earlier import wrote, see `Manifest.written`."""
    _seen: dict[str, tuple[int, int, int]] = field(default_factory=dict)

    def carry(self, content: Path, new: Mapping[str, int]) -> list[str]:
        """Put what is the user's into `content` as well; gives its names.

        Files are linked, or copied where the file system has no links. Called again, it looks only at what came in the
        meantime.

        Raises:
            DataError: something of the user's lies where `new` (name → CRC-32) has a file of other content.
            OSError: the disk.
        """
        kept, blocked = [], []
        for name, path in self._entries():
            found = path.lstat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if self._seen.get(name) == seen:
                continue
            self._seen[name] = seen
            check = _checksum(path) if stat.S_ISREG(found.st_mode) and (name in self.before or name in new) else None
            if check is not None and check in (self.before.get(name), new.get(name)):
                continue
            if _put(path, content, name):
                kept.append(name)
            else:
                why = "was changed after the import" if name in self.before else "was not written by the import"
                blocked.append(f"{shown(name)} {why}, and the archive holds another one")
        if blocked:
            raise DataError(
                f"{DataError.of(str(self.root), blocked)}\n"
                "Nothing was changed. Move these away or delete them, or set dataset.root to another folder."
            )
        return kept

    def _entries(self) -> Iterator[tuple[str, Path]]:
        """Files, links, and folders that the user made and left empty."""
        made = {parent for name in self.before for parent in _parents(name)}
        for folder, folders, files in os.walk(self.root, onerror=_raise) if self.root.is_dir() else ():
            folders.sort()
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            paths = [Path(folder) / name for name in sorted(files + links)]
            if not folders and not files and Path(folder) != self.root:
                paths = [Path(folder)]
            for path in paths:
                name = path.relative_to(self.root).as_posix()
                if name != MANIFEST and name not in made:
                    yield name, path


def _raise(error: OSError) -> None:
    raise error


def _parents(name: str) -> Iterator[str]:
    while name := name.rpartition("/")[0]:
        yield name


def _checksum(path: Path) -> int:
    check = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            check = zlib.crc32(chunk, check)
    return check


def _put(path: Path, content: Path, name: str) -> bool:
    """Link or copy `path` to `content/name`; False where something is in the way."""
    target = content / name
    if os.path.lexists(target):
        return path.is_dir() and target.is_dir() and not path.is_symlink()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        return False
    if path.is_symlink():
        target.symlink_to(path.readlink())
    elif path.is_dir():
        target.mkdir()
    else:
        try:
            os.link(path, target)
        except OSError:  # a file system without links
            shutil.copy2(path, target)
    return True


def put_in_place(content: Path, root: Path) -> None:
    """Rename `content` to `root`; what lay there is set aside first, comes back if that fails, and is deleted at last.

    The folder set aside is no leftover to be cleared: killed in between, it holds all there is, and `recover` finds it.
    """
    aside = _aside(root)
    try:
        if root.exists():
            root.rename(aside)
        content.rename(root)
    except BaseException:
        if aside.exists() and not root.exists():
            aside.rename(root)
        raise
    try:
        _discard(aside)
    except OSError as error:
        log.warning("%s is not deleted (%s); the next import will", aside, error.strerror)


def recover(root: Path) -> None:
    """Bring to its end what a process was killed at in `put_in_place`.

    Raises:
        DataError: both the folder set aside and another one are there, and neither is known to be superfluous.
    """
    aside = _aside(root)
    if not os.path.lexists(aside):
        return
    if not os.path.lexists(root):
        aside.rename(root)
        log.warning("%s: an import was killed as it took this place; what lay here before is back", root)
    elif read_manifest(root) is not None:
        _discard(aside)
    else:
        raise DataError(
            f"{root}: an import was killed as it took this place, and something else was put here since. What lay here "
            f"before is in {aside}. Move one of the two away and import again."
        )


def _aside(root: Path) -> Path:
    label = root.name.encode()[:200].decode(errors="ignore")
    return root.with_name(f".{label}.before-import")


def _discard(aside: Path) -> None:
    """Delete a folder that is not needed; from the first step on, it is a leftover that any import clears."""
    if aside.exists():
        doomed = temporary_beside(aside)
        aside.rename(doomed)
        delete(doomed)
