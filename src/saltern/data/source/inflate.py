"""Deflated data read piece by piece: what they hold may be larger than memory."""

import zlib
from collections.abc import Iterator

_FED, _TAKEN = 1 << 16, 1 << 20
"""Bytes given to the decompressor at once, and taken from it."""


def inflated(inflate: "zlib._Decompress", packed: memoryview) -> Iterator[bytes]:
    """What `packed` holds, a part of the stream that `inflate` reads; nothing where the stream has ended.

    Raises:
        zlib.error: damaged; at the end of the stream also a wrong checksum. A stream cut short raises nothing: see
            `inflate.eof`.
    """
    for start in range(0, len(packed), _FED):
        rest: bytes | memoryview = packed[start : start + _FED]
        while not inflate.eof:
            piece = inflate.decompress(rest, _TAKEN)
            yield piece
            rest = inflate.unconsumed_tail
            if not rest and len(piece) < _TAKEN:  # else there may be more than was asked for
                break
