"""Unpack one zip or tar file, trusting nothing in it: no path out of the target, no link, no absurd size."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from saltern.errors import DataError
from saltern.progress import Progress

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_BYTES = 400 << 30
"""More than this unpacked is taken for an attack or a mistake."""
MAX_FILES = 4_000_000
MAX_RATIO = 300
"""Unpacked over packed bytes; data of images stays far below, and zip itself can reach about 1,000 …"""
RATIO_FROM = 256 << 20
"""… but only from this many unpacked bytes on."""
MAX_DEPTH = 3
"""Archives within archives within archives."""
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")
_CHUNK = 1 << 20


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
        """Count a file."""
        self.files += 1
        if self.files > MAX_FILES:
            raise DataError(f"{where}: more than {MAX_FILES:,} files; refused as absurd.")


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    opened: "zipfile.ZipInfo | tarfile.TarInfo"


def is_archive(path: Path) -> bool:
    """Whether the name says so."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(path: Path, target: Path, budget: Budget, progress: Progress, *, inner: bool, depth: int = 1) -> None:
    """Unpack an archive, and those within it, or copy any other file.

    Args:
        path: the archive; by its name, it is one or not.
        target: the folder to unpack to, or to a folder in it, see `inner`.
        budget: counts what is written.
        progress: told of every file.
        inner: a train.zip whose files do not lie in `train/` makes that folder.
        depth: archives around this one, and itself.

    Raises:
        DataError: unreadable, or refused.
    """
    if not is_archive(path):
        shutil.copyfile(path, target / path.name)
        budget.count(str(path))
        return
    if depth > MAX_DEPTH:
        raise DataError(f"{path.name}: archives within archives, more than {MAX_DEPTH} deep; refused.")
    unpacked: list[Path] = []
    try:
        with _Archive(path) as opened:
            members = list(opened.members())
            folder = target / _folder_for(path, [member.name for member in members], inner)
            _announce(members, budget, path, folder)
            with progress.track(f"unpack {path.name}", len(members)) as line:
                for member in members:
                    unpacked.append(opened.extract(member, folder, budget))
                    line.advance(1)
    except DataError:
        raise
    except OSError as error:
        if error.errno is not None:  # the disk, not the archive
            raise
        raise _damaged(path, error) from error
    except Exception as error:  # zipfile and tarfile raise nearly every kind of error on damaged files
        raise _damaged(path, error) from error
    for file in unpacked:
        if is_archive(file):
            unpack(file, file.parent, budget, progress, inner=True, depth=depth + 1)
            file.unlink()


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name}: not readable as an archive ({type(error).__name__}: {error}). Download it again.")


def _announce(members: list[_Member], budget: Budget, path: Path, folder: Path) -> None:
    """Refuse what the archive's own table says before a byte is written."""
    names: set[str] = set()
    for member in members:
        if member.name in names:
            raise DataError(f"{path.name}: holds {member.name!r} twice; refused.")
        names.add(member.name)
    declared = sum(member.size for member in members)
    replace(budget).take(declared, path.name)
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if declared > free:
        raise DataError(f"{path.name}: needs {declared:,} bytes, {existing} has {free:,} left; free some space.")


def _folder_for(path: Path, names: list[str], inner: bool) -> str:
    """`train` for an inner train.zip whose files do not say so themselves, else nothing."""
    stem = path.name[: -len(next(suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)))]
    tops = {PurePosixPath(name).parts[0] for name in names}
    return "" if not inner or tops <= {stem, "VOCdevkit"} else stem


class _Archive:
    """A zip or tar file, opened; gives safe members only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: zipfile.ZipFile | tarfile.TarFile
        if path.name.lower().endswith(".zip"):
            self._file = zipfile.ZipFile(path)
        else:
            self._file = tarfile.TarFile.open(path)

    def __enter__(self) -> "_Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def members(self) -> Iterator[_Member]:
        """The files, without folders and what file managers leave behind."""
        entries: Iterable[Any] = self._file.infolist() if isinstance(self._file, zipfile.ZipFile) else self._file
        for number, entry in enumerate(entries):
            if number >= MAX_FILES:
                raise DataError(f"{self.path.name}: more than {MAX_FILES:,} files; refused as absurd.")
            member = self._tar(entry) if isinstance(entry, tarfile.TarInfo) else self._zip(entry)
            if member is not None and not set(_JUNK) & set(PurePosixPath(member.name).parts):
                yield member
        if isinstance(self._file, tarfile.TarFile):
            self._check_end(self._file)

    def _check_end(self, file: tarfile.TarFile) -> None:
        """A tar ends with a block of zeros; tarfile takes a cut or a damaged header for the end, without a word."""
        assert file.fileobj is not None, "opened"
        file.fileobj.seek(file.offset)
        if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise DataError(
                f"{self.path.name}: not readable as an archive: it is cut or damaged at byte {file.offset:,}. "
                "Download it again."
            )

    def _zip(self, entry: zipfile.ZipInfo) -> _Member | None:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{self.path.name}: {entry.filename!r} is a link or a device; only plain files are unpacked."
            )
        if entry.flag_bits & 1:
            raise DataError(f"{self.path.name}: {entry.filename!r} is encrypted; unpack the archive yourself.")
        name = self._safe(entry.filename)
        return None if entry.is_dir() else _Member(name, entry.file_size, entry)

    def _tar(self, entry: tarfile.TarInfo) -> _Member | None:
        if not (entry.isreg() or entry.isdir()):
            raise DataError(f"{self.path.name}: {entry.name!r} is a link or a device; only plain files are unpacked.")
        name = self._safe(entry.name)
        return None if entry.isdir() else _Member(name, entry.size, entry)

    def _safe(self, name: str) -> str:
        """The name without `./`, if it stays below the target on every system."""
        parts = PurePosixPath(name).parts
        bad = name.startswith("/") or "\\" in name or "\0" in name or ":" in name or ".." in parts
        if bad or len(name) > 1000:
            raise DataError(
                f"{self.path.name}: the path {name[:200]!r} leaves the target folder or is no plain path; refused."
            )
        return str(PurePosixPath(*parts)) if parts else "."

    def extract(self, member: _Member, folder: Path, budget: Budget) -> Path:
        """Write one file below `folder`, counting the bytes that really come; gives its path."""
        path = folder / member.name
        budget.count(self.path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise DataError(f"{self.path.name}: {member.name!r} would overwrite a file of another archive; refused.")
        written = 0
        with self._open(member) as packed, path.open("xb") as plain:
            while chunk := packed.read(_CHUNK):
                written += len(chunk)
                budget.take(len(chunk), self.path.name)
                plain.write(chunk)
        if written != member.size:
            raise DataError(f"{self.path.name}: {member.name!r} has {written:,} bytes; its table says {member.size:,}.")
        return path

    def _open(self, member: _Member) -> IO[bytes]:
        if isinstance(self._file, zipfile.ZipFile):
            assert isinstance(member.opened, zipfile.ZipInfo)
            return self._file.open(member.opened)
        assert isinstance(member.opened, tarfile.TarInfo)
        stream = self._file.extractfile(member.opened)
        assert stream is not None, "a regular file without content"
        return stream
