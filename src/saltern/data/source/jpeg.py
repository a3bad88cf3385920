"""JPEG decoded strictly: what libjpeg would warn of and guess at is refused.

Pillow and OpenCV hide the warnings of libjpeg or print them, and give an image in which a part is grey, shifted or
taken from elsewhere. What no decoder can notice is a changed bit after which the coded data still end where they
should: a JPEG has no checksum.
"""

import numpy as np
import simplejpeg

from saltern.data.source.unreadable import unreadable
from saltern.errors import DataError

_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MOST_SCANS = 500
"""A progressive image has about ten; each is a pass over all pixels, and a few bytes suffice for one."""
_SUBSAMPLING = "subsampling level"
_FORMS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's modes of a JPEG → simplejpeg's names."""
_HOLE = bytes(64)
"""Zeros in the coded data that can be no picture, as a broken download leaves them; see `_header`."""
_BASELINE, _PROGRESSIVE, _TABLES = (0xC0, 0xC1), (0xC2,), 0xC4


def decode_strictly(data: bytes, mode: str, where: object) -> np.ndarray:
    """The pixels of the JPEG `data`, uint8 (H, W) or (H, W, 3 or 4); equal to Pillow's, other than in CMYK.

    Args:
        data: of which the size was checked.
        mode: L, RGB or CMYK, as Pillow names what the header says.
        where: for the error.

    Raises:
        DataError: damaged in any way that can be noticed.
    """
    if (scans := data.count(_SCAN)) > _MOST_SCANS:
        raise unreadable(where, f"it has {scans:,} scans; at most {_MOST_SCANS} are read")
    try:
        pixels = simplejpeg.decode_jpeg(data, _FORMS[mode])
    except (ValueError, MemoryError) as error:
        if _SUBSAMPLING in str(error):
            raise DataError(
                f"{where}: its header is damaged, or its colours are subsampled in an unusual way (expected 4:4:4, "
                "4:4:0, 4:2:2, 4:2:0, 4:1:1 or grey), which is not read strictly. If it looks right, save it as PNG."
            ) from error
        raise unreadable(where, error) from error
    position, kind, even = _header(data)
    scans = data.count(_SCAN, position)
    if kind in _PROGRESSIVE and not _complete(data, position):
        raise unreadable(where, "scans are missing that would complete it")
    hole = data.find(_HOLE, position, max(data.rfind(_END), 0))
    if kind in _BASELINE and scans == 1 and not even and hole >= 0:
        raise unreadable(where, f"at byte {hole:,} a part was never written: it is zero")
    return pixels[..., 0] if mode == "L" else pixels


def _header(data: bytes) -> tuple[int, int, bool]:
    """Where the first scan of a JPEG begins that was decoded, the marker of its frame, and if much of it may be even.

    Zero bits are the first code of each Huffman table. Unless that ends a block in all tables, as where they were made
    for a picture with large even areas, many zeros are blocks of brightness with all 63 frequencies the same.
    """
    position, kind, even = 2, 0, True
    while position + 4 <= len(data) and (marker := data[position + 1]) != _SCAN[1]:
        if marker == 0xFF:  # fills up
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        segment = data[position + 4 : position + 2 + length]
        kind = marker if marker in (*_BASELINE, *_PROGRESSIVE) else kind
        while marker == _TABLES and len(segment) > 17:
            even &= segment[0] >> 4 == 0 or segment[17] == 0
            segment = segment[17 + sum(segment[1:17]) :]
        position += 2 + length
    return position, kind, even


def _complete(data: bytes, position: int) -> bool:
    """Whether the scans of a progressive JPEG, the first at `position`, bring every frequency to its last bit."""
    missing: dict[int, list[int]] = {}
    while 0 <= position < len(data) - 5 and position + 8 + 2 * (count := data[position + 4]) <= len(data):
        first, last, bits = data[position + 5 + 2 * count : position + 8 + 2 * count]
        for component in data[position + 5 : position + 5 + 2 * count : 2]:
            known = missing.setdefault(component, [1] * 64)
            known[first : last + 1] = [bits & 15] * len(known[first : last + 1])
        position = data.find(_SCAN, position + 2, max(data.rfind(_END), 0))
    return not any(map(any, missing.values()))
