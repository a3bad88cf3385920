"""Strict reading of image files: what is damaged is refused, never half decoded."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from saltern.errors import DataError

MAX_PIXELS = 1 << 27
"""134 million pixels; a file that claims more is taken for damaged."""
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Pillow's other decoders, of which some start programs, stay unused."""
_PNG = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""A PNG's colour type → values a pixel."""
_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""First column and row, and the steps, of the seven passes of an interlaced PNG."""


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header; a PNG's checksums are all verified, without decoding it.

    Raises:
        DataError: the file is missing, damaged, or no image.
    """
    if path.suffix.lower() == ".png":
        return _verify_png(_bytes(path), path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except Exception as error:  # Pillow's decoders raise nearly every kind of error on damaged files
        raise _unreadable(path, error) from error


def read_rgb(path: Path) -> np.ndarray:
    """The image as uint8 (H, W, 3), RGB. See `decode_rgb`."""
    return decode_rgb(_bytes(path), path)


def read_values(path: Path) -> np.ndarray:
    """The raw pixel values of a mask file, (H, W). See `decode_values`."""
    return decode_values(_bytes(path), path)


def decode_rgb(data: bytes, where: object) -> np.ndarray:
    """An encoded image as uint8 (H, W, 3), RGB, contiguous.

    Grey is repeated, 16 bits are brought to 8 by dropping the lower byte, palettes are looked up, alpha is dropped.
    Pixels stay as they are stored: an EXIF rotation is not applied, since masks are drawn on stored pixels.

    Raises:
        DataError: damaged, no image, or a pixel type without a plain reading as 8 bits (float, 32 bits).
    """
    pixels = _plain_png(data, where)
    if pixels is not None and pixels.dtype == np.uint8:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB if pixels.ndim == 2 else cv2.COLOR_BGR2RGB)
    image = _decode(data, where)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
    elif image.mode in ("L", "LA"):
        grey = np.asarray(image.getchannel(0))
    elif image.mode in ("RGB", "RGBA", "RGBX"):
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    elif image.mode in ("1", "P", "PA", "CMYK", "YCbCr"):
        return np.array(image.convert("RGB"))
    else:
        raise DataError(f"{where}: pixels of type {image.mode!r}; expected 8 or 16 bits, grey, palette or colour.")
    return np.repeat(grey[:, :, None], 3, axis=2)


def decode_values(data: bytes, where: object) -> np.ndarray:
    """An encoded mask as uint8 or uint16 (H, W): grey values, or palette indices, as stored.

    Colour is taken where its channels are equal; alpha is dropped.

    Raises:
        DataError: damaged, no image, or real colours.
    """
    pixels = _plain_png(data, where)
    if pixels is not None and pixels.ndim == 2:
        return pixels
    image = _decode(data, where)
    if image.mode in ("L", "P", "1"):
        values = np.asarray(image, dtype=np.uint8)
        narrow = data.startswith(_PNG) and image.mode == "L" and data[24] in (2, 4)
        return values // (255 // ((1 << data[24]) - 1)) if narrow else values  # Pillow spreads them over 0 to 255
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode in ("LA", "PA"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("RGB", "RGBA"):
        values = np.asarray(image)
        if (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
            return np.ascontiguousarray(values[..., 0])
        raise DataError(f"{where}: a mask in colours; expected one grey value or palette index a pixel.")
    raise DataError(f"{where}: mask pixels of type {image.mode!r}; expected 1, 8 or 16 bits, grey or palette.")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def _plain_png(data: bytes, where: object) -> np.ndarray | None:
    """The pixels of a grey (8 or 16 bits) or an 8-bit colour PNG (BGR); None for all other files, which Pillow reads.

    OpenCV decodes these to the same values several times faster, and lets other threads run meanwhile.
    """
    if not data.startswith(_PNG):
        return None
    height, width = _verify_png(data, where)
    bits, colour = data[24], data[25]
    shape = {(8, 0): (height, width), (16, 0): (height, width), (8, 2): (height, width, 3)}.get((bits, colour))
    if shape is None:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise _unreadable(where, "its pixel data do not fill the image")
    fits = pixels.shape == shape and pixels.dtype.itemsize * 8 == bits  # else a chunk has added transparency
    return pixels if fits else None


def _decode(data: bytes, where: object) -> Image.Image:
    if data.startswith(_PNG) or str(where).lower().endswith(".png"):
        _verify_png(data, where)
        _verify_rows(data, where)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(image.height, image.width, where)
            image.load()
            return image
    except DataError:
        raise
    except Exception as error:  # as above
        raise _unreadable(where, error) from error


def _verify_png(data: bytes, where: object) -> tuple[int, int]:
    """(height, width) after following every chunk; Pillow itself would pass over wrong checksums of pixels."""
    if not data.startswith(_PNG):
        raise _unreadable(where, f"it begins with {data[:8]!r}, not as a PNG does" if data else "it is empty")
    position = len(_PNG)
    while True:
        if position + 12 > len(data):
            raise _unreadable(where, f"it ends after {len(data)} bytes, before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise _unreadable(where, f"it ends after {len(data)} bytes, within a chunk that needs {end}")
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[position + 4 : end - 4]) != stored:
            raise _unreadable(where, f"wrong checksum in the chunk at byte {position}")
        if kind == b"IEND":
            break
        position = end
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise _unreadable(where, "it has no header chunk")
    width, height = struct.unpack_from(">II", data, 16)
    _check_size(height, width, where)
    return height, width


def _verify_rows(data: bytes, where: object) -> None:
    """Refuse a PNG, sound as a file, with fewer rows than it says; Pillow would fill them up with zeros."""
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    depth = bits * _CHANNELS.get(colour, 0)
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    needed = sum(rows * (1 + (columns * depth + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)
    inflate, found, position = zlib.decompressobj(), 0, len(_PNG)
    try:
        while position < len(data) and found < needed:
            length, kind = struct.unpack_from(">I4s", data, position)
            if kind == b"IDAT":
                found += len(inflate.decompress(data[position + 8 : position + 8 + length], needed - found + 1))
            position += 12 + length
    except zlib.error as error:
        raise _unreadable(where, error) from error
    if found < needed:
        raise _unreadable(where, f"its pixel data end after {found:,} of {needed:,} bytes")


def _check_size(height: int, width: int, where: object) -> None:
    if not (height > 0 and width > 0 and height * width <= MAX_PIXELS):
        raise _unreadable(where, f"it claims {height} x {width} pixels")


def _unreadable(where: object, why: object) -> DataError:
    return DataError(f"{where}: not readable as an image: {why}. Unpack or download it again.")
