"""What libtiff does not say of a TIFF, or says on stderr."""

import ctypes
import zlib
from typing import Any

from PIL import Image

from saltern.data.source.inflate import inflated
from saltern.data.source.jpeg import decode_strictly
from saltern.data.source.unreadable import unreadable

_BITS, _COMPRESSION, _JPEG_TABLES = 258, 259, 347
_PARTS = ((273, 279), (324, 325))
"""Tags of the offsets and lengths of strips, and of tiles."""
_JPEG, _DEFLATE = (7,), (8, 32946)


def silence_libtiff() -> None:
    """Let libtiff, as Pillow has it, print nothing; its errors reach Pillow nonetheless."""
    library = ctypes.CDLL(Image.core.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(library, name):  # not where it is linked in statically
            handler = getattr(library, name)
            handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            handler(None)


def bits_of(image: Image.Image) -> int:
    """Bits a value of a TIFF; 8 for all other formats."""
    bits = _tags(image).get(_BITS, 8)
    return max(bits) if isinstance(bits, tuple) else int(bits)


def verify_strips(image: Image.Image, data: bytes, where: object) -> None:
    """Decode every JPEG in the TIFF `data` strictly, and verify the checksum of every deflated strip or tile.

    Raises:
        DataError: one of them is damaged.
    """
    tags = _tags(image)
    compression, tables = tags.get(_COMPRESSION), tags.get(_JPEG_TABLES, b"")
    for offsets, lengths in _PARTS:
        for start, length in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=True):
            part = data[start : start + length]
            if compression in _JPEG:
                form = "CMYK" if image.mode == "CMYK" else "L"
                decode_strictly(tables[:-2] + part[2:] if tables else part, form, where)
            elif compression in _DEFLATE and not _inflates(part):
                raise unreadable(where, f"its compressed data at byte {start} are damaged")


def _inflates(packed: bytes) -> bool:
    """Whether `packed` holds a whole zlib stream with a right checksum."""
    inflate = zlib.decompressobj()
    try:
        for _ in inflated(inflate, memoryview(packed)):
            pass
    except zlib.error:
        return False
    return inflate.eof


def _tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})
