"""Zip files, read within bounds however they were made."""

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO

from saltern.data.archives import budget
from saltern.data.archives.names import shown
from saltern.data.archives.reading import CHUNK, REPACK, Member, damaged, reading
from saltern.errors import DataError

_TABLE = 128 << 20
"""Bytes of a table that are read."""
_ENTRY, _END, _END64, _LOCATOR = b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEADER = 30
"""Bytes before the name and the content of a file."""
_METHODS = {
    9: "Deflate64, as Windows does it beyond 2 GB",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "xz",
    98: "PPMd",
}


class _Table(io.BufferedReader):
    """A zip file, of which zipfile reads no larger table into memory than is sensible."""

    def __init__(self, raw: IO[bytes], where: str) -> None:
        super().__init__(raw, CHUNK)  # type: ignore[arg-type]
        self._where = where

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any stream; DataError where it would be absurdly much."""
        if size is not None and size > _TABLE:
            raise DataError(f"{self._where}: its table has {size:,} bytes; refused as absurd.")
        content = super().read(size)
        if len(content) > CHUNK and content.count(_ENTRY) > budget.MAX_FILES:
            raise budget.too_many(self._where)
        return content


class ZipArchive:
    """A zip file."""

    def __init__(self, raw: IO[bytes], where: str) -> None:
        self._where = where
        declared = _declared_entries(raw)
        self._file = zipfile.ZipFile(_Table(raw, where))
        if (len(self._file.infolist()) - declared) % (1 << 16):  # old tools count modulo 65,536
            raise damaged(where, f"its table holds {len(self._file.infolist()):,} entries, its end says {declared:,}")

    def members(self) -> Iterator[Member]:
        """See `Archive`; files that overlap are refused as well."""
        entries = self._file.infolist()
        if len(entries) > budget.MAX_FILES:
            raise budget.too_many(self._where)
        for one, after in pairwise(sorted(entries, key=lambda entry: entry.header_offset)):
            if one.header_offset + _LOCAL_HEADER + one.compress_size > after.header_offset:
                raise DataError(
                    f"{self._where}: {shown(one.filename)} and {shown(after.filename)} overlap; refused as a bomb."
                )
        for entry in entries:
            self._require_plain(entry)
            if not entry.is_dir():
                yield Member(entry.orig_filename, entry.file_size, entry)  # filename itself ends at a NUL

    def _require_plain(self, entry: zipfile.ZipInfo) -> None:
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{self._where}: {shown(entry.filename)} is a link or a device; only plain files are unpacked."
            )
        if entry.flag_bits & 1:
            raise DataError(f"{self._where}: {shown(entry.filename)} is encrypted. {REPACK}")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            method = _METHODS.get(entry.compress_type, f"method {entry.compress_type}")
            raise DataError(
                f"{self._where}: {shown(entry.filename)} is packed by {method}; zip files are read here as every tool "
                f"writes them by default, stored or deflated. {REPACK}"
            )

    def chunks(self, member: Member) -> Iterator[bytes]:
        """See `Archive`."""
        with reading(self._where), self._file.open(member.at) as packed:
            while chunk := packed.read(CHUNK):
                yield chunk


def _declared_entries(raw: IO[bytes]) -> int:
    """How many entries the end of a zip file promises; 0 where it has no end, which zipfile will tell."""
    size = raw.seek(0, io.SEEK_END)
    raw.seek(max(0, size - (1 << 16) - 200))
    tail = raw.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    if at >= 76 and tail[at - 20 : at - 16] == _LOCATOR and tail[at - 76 : at - 72] == _END64:
        return int(struct.unpack_from("<Q", tail, at - 76 + 32)[0])
    return int(struct.unpack_from("<H", tail, at + 10)[0])
