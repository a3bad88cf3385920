"""Archives that no decent tool writes: a zip and a tar put together by hand, so that every field can lie."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Entry:
    """A file of a zip made by hand; what is None is told truly."""

    name: str
    content: bytes = b""
    method: int = 0
    flags: int = 0x800
    size: int | None = None
    offset: int | None = None


def zip_by_hand(entries: Iterable[Entry], count: int | None = None, table: int | None = None) -> bytes:
    """A stored zip of `entries`; `count` and `table` (bytes) lie about its table where they are given."""
    body, directory, number = bytearray(), bytearray(), 0
    for entry in entries:
        name, size = entry.name.encode(errors="surrogateescape"), len(entry.content)
        check, told = zlib.crc32(entry.content), size if entry.size is None else entry.size
        offset = len(body) if entry.offset is None else entry.offset
        middle = struct.pack("<5H3L2H", 20, entry.flags, entry.method, 0, 33, check, size, told, len(name), 0)
        body += b"PK\3\4" + middle + name + entry.content
        directory += b"PK\1\2" + struct.pack("<H", 20) + middle + struct.pack("<3H2L", 0, 0, 0, 0, offset) + name
        number += 1
    counts = [(number if count is None else count) % (1 << 16)] * 2
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, table or len(directory), len(body), 0)
    return bytes(body + directory + end)


def zip_of(files: Mapping[str, bytes]) -> bytes:
    """A deflated zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tar_of(files: Mapping[str, bytes], mode: str = "w") -> bytes:
    """A tar, packed as `mode` says."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The first block of a tar's entry, whose content may be of another size; negative ones in base 256."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = max(size, 0), kind
    block = bytearray(entry.tobuf(tarfile.GNU_FORMAT)[-512:])
    if size < 0:
        block[124:136] = b"\xff" + (size % (1 << 88)).to_bytes(11)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content: bytes) -> bytes:
    """`content` in whole blocks."""
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def record(key: str, value: str) -> bytes:
    """A record of an extended header."""
    rest = f" {key}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) > length:
        length += 1
    return str(length).encode() + rest


def extended(content: bytes, kind: bytes = tarfile.XHDTYPE, size: int | None = None) -> bytes:
    """An extended header with `content`, whose `size` may lie."""
    return header("pax", len(content) if size is None else size, kind) + padded(content)


def content_of(folder: Path) -> dict[str, bytes]:
    """Each file below `folder` → its content; a link → where it leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = b"-> " + bytes(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found
