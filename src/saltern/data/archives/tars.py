"""Tar files, packed or not, read within bounds however they were made."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any

from saltern.data.archives import budget
from saltern.data.archives.names import shown
from saltern.data.archives.reading import CHUNK, Member, damaged, reading
from saltern.errors import DataError

_HEADERS = 1 << 20
"""Bytes that headers may take at once; each entry adds to what is left of it …"""
_HEADER = 4096
"""… this much."""
_PADDING = 64 << 20
"""Bytes that may follow the end."""
_DIGITS = re.compile(rb"\d{200}")
"""Nothing that a record needs, and what tarfile searches in a time that grows with its square."""


def _as_it_is(raw: IO[bytes]) -> Any:
    return raw


def _gzip(raw: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=raw)


def _xz(raw: IO[bytes]) -> Any:
    return lzma.LZMAFile(raw, format=lzma.FORMAT_XZ)


_OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {b"\x1f\x8b": _gzip, b"BZh": bz2.BZ2File, b"\xfd7zXZ\x00": _xz}


class _Headers:
    """The stream of a tar as tarfile sees it, to read the headers.

    tarfile trusts the sizes in them, and takes time with the square of some contents: both are bounded here.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream = stream
        self._where = where
        self.seek, self.tell = stream.seek, stream.tell
        self._left = _HEADERS
        self._kind = b""  # of the header read last, whose content comes next

    def entry(self) -> None:
        """One more entry was read."""
        self._left = min(self._left + _HEADER, _HEADERS)

    def read(self, size: int = -1) -> bytes:
        """As of any stream; DataError where a header is absurdly large or no list of records."""
        if size < 0 or size > self._left:
            raise DataError(f"{self._where}: a header of it is absurdly large; refused as a bomb.")
        self._left -= size
        content = self._stream.read(size)
        if self._kind and self._kind in b"xgX":
            _require_records(content, self._where)
        extends = not self._kind and len(content) == tarfile.BLOCKSIZE and content[156:157] in b"xgXLK"
        self._kind = content[156:157] if extends else b""
        return content


def _require_records(content: bytes, where: str) -> None:
    """Extended headers are lines `LENGTH KEY=VALUE`; tarfile would follow a length that leads astray."""
    at = 0
    while at < len(content) and content[at]:
        length = content[at : at + 8].partition(b" ")[0]
        record = content[at : at + int(length)] if length.isdigit() else b""
        if not record.endswith(b"\n") or b"=" not in record or _DIGITS.search(record):
            raise damaged(where, "an extended header is no list of records")
        at += len(record)


class TarArchive:
    """A tar file, packed or not."""

    def __init__(self, raw: IO[bytes], where: str) -> None:
        self._where = where
        start = raw.read(8)
        raw.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), _as_it_is)
        self._stream = io.BufferedReader(opener(raw), CHUNK)

    def members(self) -> Iterator[Member]:
        """See `Archive`; each file is given before its content is skipped."""
        headers: Any = _Headers(self._stream, self._where)
        with reading(self._where):
            file: Any = tarfile.TarFile(fileobj=headers, mode="r")
            for _ in range(budget.MAX_FILES):
                entry = file.next()
                if entry is None:
                    break
                file.members.clear()  # else each stays in memory with all its headers
                headers.entry()
                self._require_plain(entry)
                if not entry.isdir():
                    yield Member(entry.name, entry.size, entry.offset_data)
            else:
                raise budget.too_many(self._where)
            self._check_end(file.offset)

    def _require_plain(self, entry: tarfile.TarInfo) -> None:
        if not (entry.isreg() or entry.isdir()):
            raise DataError(f"{self._where}: {shown(entry.name)} is a link or a device; only plain files are unpacked.")
        if entry.issparse():
            raise DataError(
                f"{self._where}: {shown(entry.name)} is stored as a sparse file; pack it anew without --sparse."
            )
        if entry.size < 0 or len(entry.pax_headers) > 1000:
            raise damaged(self._where, f"the header of {shown(entry.name)} cannot be")

    def _check_end(self, offset: int) -> None:
        """A tar ends with a block of zeros; tarfile takes a cut or a damaged header for the end, without a word.

        What comes then is read as well, because the checksum of a packed tar lies at its very end.
        """
        self._stream.seek(offset)
        if self._stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise damaged(self._where, f"it is cut or damaged at byte {offset:,}")
        padding = 0
        while chunk := self._stream.read(CHUNK):
            padding += len(chunk)
            if padding > _PADDING:
                raise DataError(f"{self._where}: more than {_PADDING:,} bytes follow its end; refused as a bomb.")

    def chunks(self, member: Member) -> Iterator[bytes]:
        """See `Archive`."""
        left = member.size
        with reading(self._where):
            self._stream.seek(member.at)
            while left:
                chunk = self._stream.read(min(left, CHUNK))
                if not chunk:
                    raise EOFError(f"{shown(member.name)} ends {left:,} bytes early")
                left -= len(chunk)
                yield chunk
