"""Unpack a zip or tar file, and those within it, onto a ground."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from saltern.data.archives.budget import MAX_DEPTH, Budget
from saltern.data.archives.formats import is_archive, opened, stem_of
from saltern.data.archives.ground import Ground
from saltern.data.archives.names import plain_parts, shown
from saltern.data.archives.reading import CHUNK, Archive, Member, damaged, reading
from saltern.errors import DataError
from saltern.progress import Progress

_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db"}
"""Folders and files that file managers leave behind."""


@dataclass(frozen=True)
class Unpacker:
    """Unpacks onto one ground."""

    ground: Ground
    """Where the files go."""
    budget: Budget
    """Counts what is written."""
    progress: Progress
    """Told of every file."""

    def unpack(self, path: Path, folder: str = "", *, inner: bool, depth: int = 1) -> None:
        """Unpack an archive, and those within it, or copy any other file.

        Args:
            path: the archive; by its name, it is one or not.
            folder: where on the ground; empty or with / at its end.
            inner: a train.zip whose files do not lie in `train/` makes that folder.
            depth: archives around this one, and itself.

        Raises:
            DataError: unreadable, or refused.
            OSError: what was unpacked cannot be written.
        """
        where = shown(path.name)
        if not is_archive(path):
            self.budget.count(where)
            self.ground.write(folder + path.name, self._counted(_content(path), where), where)
            return
        if depth > MAX_DEPTH:
            raise DataError(f"{where}: archives within archives, more than {MAX_DEPTH} deep; refused.")
        with opened(path) as archive:
            members = self._announced(archive, where)
            folder += _folder_for(path, members) if inner else ""
            with self.progress.track(f"unpack {path.name}", len(members)) as line:
                for member in members:
                    self.budget.count(where)
                    self.ground.write(folder + member.name, self._sized(archive, member, where), where)
                    line.advance(1)
        for name in (folder + member.name for member in members):
            if is_archive(self.ground.folder / name):
                parent = name[: name.rfind("/") + 1]
                self.unpack(self.ground.folder / name, parent, inner=True, depth=depth + 1)
                self.ground.remove(name)

    def _announced(self, archive: Archive, where: str) -> list[Member]:
        """The files of an archive with checked names, if what its table says is sensible; nothing is written yet."""
        ahead, members = replace(self.budget), []
        for member in archive.members():
            ahead.count(where)
            ahead.take(member.size, where)
            if _JUNK.isdisjoint(member.name.split("/")):
                members.append(Member("/".join(plain_parts(member.name, where)), member.size, member.at))
        needed, free = ahead.bytes - self.budget.bytes, shutil.disk_usage(self.ground.folder).free
        if needed > free:
            raise DataError(f"{where}: needs {needed:,} bytes, the disk has {free:,} left; free some space.")
        return members

    def _sized(self, archive: Archive, member: Member, where: str) -> Iterator[bytes]:
        """The content of a file, which must be as long as the table says."""
        came = 0
        for chunk in self._counted(archive.chunks(member), where):
            came += len(chunk)
            yield chunk
        if came != member.size:
            raise damaged(where, f"{shown(member.name)} has {came:,} bytes; its table says {member.size:,}")

    def _counted(self, chunks: Iterator[bytes], where: str) -> Iterator[bytes]:
        for chunk in chunks:
            self.budget.take(len(chunk), where)
            yield chunk


def _content(path: Path) -> Iterator[bytes]:
    with reading(shown(path.name)), path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _folder_for(path: Path, members: list[Member]) -> str:
    """`train/` for an inner train.zip whose files do not say so themselves, else nothing."""
    stem = stem_of(path)
    tops = {member.name.partition("/")[0] for member in members}
    return "" if tops <= {stem, "VOCdevkit"} else "/".join(plain_parts(stem, shown(path.name))) + "/"
