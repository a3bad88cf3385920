"""Small archives that would become large: each is refused in words, within the time and memory of a try."""

import bz2
import gzip
import lzma
import random
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from packing import Entry, extended, header, padded, record, tar_of, zip_by_hand, zip_of
from tries import Tally

from saltern.config import TgsConfig
from saltern.data.archives.place import import_archive

MEBIBYTE = 1 << 20
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
Family = Callable[[random.Random], Iterator[tuple[str, bytes]]]
"""What each bomb is, and its bytes."""


def zeros(megabytes: int) -> bytes:
    """A deflated stream of zeros, without an end of its own."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(megabytes)) + packer.flush()


def deflated(name: str, packed: bytes, size: int) -> Entry:
    return Entry(name, packed, method=8, size=size)


def zips(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    some = draw.randint(2, 40)
    yield "a file of zeros", zip_by_hand([deflated("a.bmp", zeros(300), 300 * MEBIBYTE)])
    yield "a size that lies", zip_by_hand([deflated("a.bmp", zeros(64), some)])
    yield "a size of terabytes", zip_by_hand([Entry(f"{number}", b"x", size=(1 << 32) - 1) for number in range(200)])
    overlapping = [Entry("0.bmp", bytes(MEBIBYTE))]
    overlapping += [Entry(f"{number}.bmp", b"", offset=0) for number in range(1, 1000)]
    yield "files that overlap", zip_by_hand(overlapping)
    yield "too many files", zip_by_hand(Entry(str(number)) for number in range(300_001))
    yield "a table without names", zip_by_hand([Entry("")] * (1_400_000 + some))
    yield "a count that lies", zip_by_hand([Entry(str(number)) for number in range(some)], count=some - 1)
    yield "a table that is larger than told", zip_by_hand([Entry("a")] * some, table=46 * some)
    yield "a table of gigabytes", zip_by_hand([Entry("a")], table=(1 << 32) - 1 - some)
    inner = zip_by_hand([deflated("a.bmp", zeros(32), 32 * MEBIBYTE)])
    yield "archives within", zip_of({f"{number}.zip": inner for number in range(9)})
    deep = zip_of({"a": b"x"})
    for _ in range(some + 3):
        deep = zip_of({"x.zip": deep})
    yield "archives within without end", deep
    for method in (9, 12, 14, 93, 95, 98, draw.randint(20, 90)):
        yield f"method {method}", zip_by_hand([Entry("a.bmp", bz2.compress(bytes(MEBIBYTE)), method, size=MEBIBYTE)])
    yield "encrypted", zip_by_hand([Entry("a.bmp", b"x" * 12, flags=0x801)])
    yield "ends only", b"PK\5\6" + bytes(18) + b"PK\5\6" * some


def tars(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Of headers alone: what is told of is not there."""
    some, far = draw.randint(2, 500), draw.choice([1 << 31, 1 << 32, (1 << 33) - 1])
    entry = padded(header("a.bmp", 3) + b"xyz")
    yield "a file of gigabytes", header("a.bmp", far)
    yield "junk of gigabytes", header("__MACOSX/a", far)
    yield "a size below nothing", header("a.bmp", -512 * some) + entry
    yield "junk of a size below nothing", header("__MACOSX/a", -512) + entry
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"X"):
        yield f"header {kind!r} of gigabytes", header("pax", far, kind)
        yield f"header {kind!r} below nothing", header("pax", -512 * some, kind) + entry
        yield f"header {kind!r} of 2 MiB", extended(b"x" * (2 * MEBIBYTE), kind) + entry
    yield "a name of 512 KiB", extended(b"x/" * (MEBIBYTE // 4), tarfile.GNUTYPE_LONGNAME) + entry
    for key, value in (("size", str(far)), ("size", str(-512 * some)), ("path", "../a"), ("path", "/a"), ("size", "x")):
        yield f"a record {key}={value}", extended(record(key, value)) + entry + (bytes(1024) if key == "path" else b"")
    yield "digits", extended(record("x", "1" * 200_000)) + entry
    yield "records within each other", extended(b"2 " * 100_000 + b"a=b\n") + entry
    yield "records of no length", extended(b"0 a=b\n") + entry
    many = extended(b"".join(record(str(number), "") for number in range(20_000)), tarfile.XGLTYPE)
    yield "20,000 records for every file", many + entry * 2000
    yield "headers of headers", extended(record("a", "b")) * 5000 + entry
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(far)}
    records = b"".join(record(*item) for item in sparse.items())
    yield "sparse 1.0", extended(records) + header("a", 512 * some) + padded(b"99999\n" + b"1\n" * 100 * some)
    yield (
        "sparse 0.1",
        extended(record("GNU.sparse.map", "0,1," * 9999 + "0,1") + record("GNU.sparse.size", str(far))) + entry,
    )
    yield "sparse 0.0", extended(record("GNU.sparse.size", str(far)) + record("GNU.sparse.offset", "1")) + entry
    old = bytearray(header("a", 0, tarfile.GNUTYPE_SPARSE))
    old[482], old[483:495] = 1, b"77777777777\0"
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    block = bytearray(b"00000000001\0" * 42 + bytes(8))
    block[504] = 1
    yield "sparse, old", bytes(old) + bytes(block) * 10_000


def streams(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Packed streams are many in a row: gigabytes of zeros in kilobytes."""
    mine = {kind: (pack, pack(bytes(32 * MEBIBYTE))) for kind, pack in PACKERS.items()}
    for kind, (pack, plenty) in mine.items():
        for what, size in (("a file", 1 << 32), ("junk", 1 << 32), ("a header", 1 << 32), ("the end", 0)):
            name = "__MACOSX/a" if what == "junk" else "a.bmp"
            start = header(name, size, tarfile.XHDTYPE if what == "a header" else tarfile.REGTYPE)
            yield f"{what} in {kind}", pack(start) + plenty * draw.randint(20, 128)
    entries = b"".join(header(f"{number}", 0) for number in range(2000))
    yield "empty files", draw.choice(list(PACKERS.values()))(entries) * 151
    yield "a dictionary of 4 GiB in xz", greedy_xz()


def greedy_xz() -> bytes:
    """An xz file whose header asks for the largest dictionary there is."""
    packed = bytearray(lzma.compress(tar_of({"a.csv": b"x"})))
    at = packed.index(b"\x21\x01", 12)  # LZMA2, one byte of properties: the size of the dictionary
    packed[at + 2] = 40
    size = (packed[12] + 1) * 4
    packed[12 + size - 4 : 12 + size] = struct.pack("<L", zlib.crc32(packed[12 : 12 + size - 4]))
    return bytes(packed)


@pytest.mark.parametrize(("family", "suffix"), [(zips, "zip"), (tars, "tar"), (streams, "tar.xz")])
def test_bombs(family: Family, suffix: str, tally: Callable[[str], Tally], scale: int, tmp_path: Path) -> None:
    mine, out = tally("archives (bombs)"), tmp_path / "out"
    out.mkdir()
    for seed in range(1 if scale == 1 else 3):
        for what, bomb in family(random.Random(seed)):
            packed = {f"bomb.{suffix}": bomb}
            if len(bomb) < MEBIBYTE:
                packed["outer.zip"] = zip_of({f"a/b.{suffix}": bomb})
            for name, content in packed.items():
                path = tmp_path / name
                path.write_bytes(content)
                config = TgsConfig(root=str(out / "tgs"))
                outcome = mine.attempt(f"{what} as {name}, seed {seed}", partial(import_archive, path, config))
                assert outcome == "refused", what
                path.unlink()
                assert list(tmp_path.rglob("*")) == [out], f"{what}: left something behind"
