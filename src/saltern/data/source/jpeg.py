"""JPEG decoded strictly: what libjpeg would warn of and guess at is refused.

Pillow and OpenCV hide the warnings of libjpeg or print them, and give an image in which a part is grey, shifted or
taken from elsewhere. What no decoder can notice is a changed bit after which the coded data still end where they
should: a JPEG has no checksum.
"""

from typing import Any

import numpy as np
import simplejpeg

from saltern.data.source.unreadable import unreadable

_SCAN = b"\xff\xda"
_MOST_SCANS = 500
"""A progressive image has about ten; each is a pass over all pixels, and a few bytes suffice for one."""
_SUBSAMPLING = "subsampling level"
_FORMS = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's modes of a JPEG → simplejpeg's names."""


def decode_strictly(data: Any, mode: str, where: object) -> np.ndarray:
    """The pixels of the JPEG `data`, bytes or the like, uint8 (H, W) or (H, W, 3 or 4); equal to Pillow's but in CMYK.

    Args:
        data: of which the size was checked.
        mode: L, RGB or CMYK, as Pillow names what the header says.
        where: for the error.

    Raises:
        DataError: damaged in any way that the decoder notices.
    """
    scans = bytes(data).count(_SCAN)
    if scans > _MOST_SCANS:
        raise unreadable(where, f"it has {scans:,} scans; at most {_MOST_SCANS} are read")
    try:
        pixels = simplejpeg.decode_jpeg(data, _FORMS[mode])
    except (ValueError, MemoryError) as error:
        reason = str(error)
        if _SUBSAMPLING in reason:
            reason = "its header is damaged, or its colours are subsampled otherwise than 4:4:4, 4:2:2 or 4:2:0"
        raise unreadable(where, reason) from error
    return pixels[..., 0] if mode == "L" else pixels
