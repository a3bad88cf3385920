"""What a PNG promises of itself, verified to the last byte before a decoder sees it.

Decoders are lenient, and OpenCV's prints to stderr what it finds; so all that could be wrong is found here first, and
only the chunks that hold the pixels are handed on.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from saltern.data.source.inflate import inflated
from saltern.data.source.unreadable import check_size, unreadable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type → values a pixel."""
_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type → bits a value."""
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column and row, and the steps, of the seven passes of an interlaced image."""
_FILTERS = 5


@dataclass(frozen=True)
class Png:
    """A file whose chunks are sound: checksums, order, header, palette. Its pixels are not looked at yet."""

    height: int
    width: int
    bits: int
    """A value."""
    colour: int
    """0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    interlaced: bool
    palette: int
    """Colours in the palette; 0 without one."""
    chunks: dict[bytes, list[memoryview]]
    """Kind → its chunks, whole; header, palette, pixels and end only."""

    @classmethod
    def of(cls, data: bytes, where: object) -> "Png":
        """Follow every chunk of `data`.

        Raises:
            DataError: not a PNG, cut short, a wrong checksum, chunks missing or out of order, an impossible header.
        """
        if not data.startswith(SIGNATURE):
            raise unreadable(where, f"it begins with {data[:8]!r}, not as a PNG does" if data else "it is empty")
        chunks: dict[bytes, list[memoryview]] = {b"IHDR": [], b"PLTE": [], b"IDAT": [], b"IEND": []}
        before = b""
        for position, chunk in _chunks(data, where):
            kind = bytes(chunk[4:8])
            again = bool(chunks.get(kind)) and not kind == before == b"IDAT"
            if (before == b"") != (kind == b"IHDR") or again or (kind == b"PLTE" and chunks[b"IDAT"]):
                raise unreadable(where, f"its chunk {kind!r} at byte {position} is out of order")
            if kind in chunks:
                chunks[kind].append(chunk)
            elif not kind[0] & 0x20:  # a capital letter: no image without it
                raise unreadable(where, f"its chunk {kind!r} at byte {position} is unknown")
            before = kind
        return cls._of_chunks(chunks, where)

    @classmethod
    def _of_chunks(cls, chunks: dict[bytes, list[memoryview]], where: object) -> "Png":
        (header,) = chunks[b"IHDR"]
        if len(header) != 25:
            raise unreadable(where, f"its header has {len(header) - 12} bytes; expected 13")
        width, height, bits, colour, packing, filtering, interlaced = struct.unpack_from(">IIBBBBB", header, 8)
        check_size(height, width, where)
        if bits not in _BITS.get(colour, ()) or packing or filtering or interlaced > 1:
            raise unreadable(where, f"its header says {bits} bits, colour {colour}, {packing, filtering, interlaced}")
        palette, odd = divmod(sum(len(chunk) - 12 for chunk in chunks[b"PLTE"]), 3)
        if colour == 3 and (odd or not 0 < palette <= 256):
            raise unreadable(where, f"it has a palette of {palette} colours" if palette else "it has no palette")
        if not chunks[b"IDAT"]:
            raise unreadable(where, "it has no pixel data")
        return cls(height, width, bits, colour, interlaced == 1, palette, chunks)

    def bare(self) -> bytes:
        """The file without all that pixels do not need, such as transparency, profiles and comments."""
        kinds = (b"IHDR", b"PLTE", b"IDAT", b"IEND") if self.colour == 3 else (b"IHDR", b"IDAT", b"IEND")
        return b"".join([SIGNATURE, *(chunk for kind in kinds for chunk in self.chunks[kind])])

    def verify_pixels(self, where: object) -> None:
        """Inflate the pixel data without keeping them: exactly as many bytes as the header asks for, a right checksum.

        Raises:
            DataError: they do not; decoders fill what is missing with zeros and pass over the rest.
        """
        passes = self._passes()
        needed = sum(line * rows for line, rows in passes)
        inflate, found = zlib.decompressobj(), 0
        try:
            for chunk in self.chunks[b"IDAT"]:
                for piece in inflated(inflate, chunk[8:-4]):
                    if any(max(starts, default=0) >= _FILTERS for starts in _starts(piece, found, passes)):
                        raise unreadable(where, "its pixel data have a row of an unknown filter")
                    found += len(piece)
                    if found > needed:
                        raise unreadable(where, f"its pixel data go on after the {needed:,} bytes of its size")
        except zlib.error as error:
            raise unreadable(where, f"its pixel data: {error}") from error
        if found < needed or not inflate.eof:
            raise unreadable(where, f"its pixel data end after {found:,} of {needed:,} bytes")

    def _passes(self) -> list[tuple[int, int]]:
        """(bytes a row, the filter's included; rows) of each pass."""
        depth = self.bits * _CHANNELS[self.colour]
        passes = _ADAM7 if self.interlaced else [(0, 0, 1, 1)]
        sizes = [(-(-(self.width - x) // across), -(-(self.height - y) // down)) for x, y, across, down in passes]
        return [(1 + (columns * depth + 7) // 8, rows) for columns, rows in sizes if columns > 0 and rows > 0]


def _chunks(data: bytes, where: object) -> Iterator[tuple[int, memoryview]]:
    """Where each chunk begins, and the whole of it, up to the last."""
    view, position, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise unreadable(where, f"it ends after {len(data)} bytes, before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise unreadable(where, f"it ends after {len(data)} bytes, within a chunk that needs {end}")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise unreadable(where, f"wrong checksum in the chunk at byte {position}")
        yield position, view[position:end]
        position = end


def _starts(piece: bytes, at: int, passes: list[tuple[int, int]]) -> Iterator[bytes]:
    """The first bytes of the rows in `piece`, which begins `at` bytes into the pixel data."""
    begin = 0
    for line, rows in passes:
        end = begin + line * rows
        first = begin + -(-(max(at, begin) - begin) // line) * line
        yield piece[first - at : max(end - at, 0) : line] if first < end else b""
        begin = end
