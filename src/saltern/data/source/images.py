"""Strict reading of image files: what is damaged is refused, never half decoded.

How much damage can be known depends on the format. A PNG has checksums, and all are verified. A JPEG has none, but any
loss leaves its coded data too short or too long, which is refused (see `jpeg`). TIFF, GIF and WebP are refused where a
part is missing or cannot be decoded. Changed bytes of uncompressed pixels (BMP, TIFF) cannot be known.
"""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from saltern.data.source.jpeg import decode_strictly
from saltern.data.source.limits import MAX_IMAGE_BYTES, read_bytes, require_file
from saltern.data.source.png import SIGNATURE, Png
from saltern.data.source.tiff import bits_of, silence_libtiff, verify_strips
from saltern.data.source.unreadable import check_size, unreadable
from saltern.errors import DataError

Image.MAX_IMAGE_PIXELS = None  # `check_size` refuses more than MAX_PIXELS, and Pillow would warn of less
warnings.filterwarnings("ignore", module=r"PIL\.")  # of metadata; what concerns pixels is an error
silence_libtiff()
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Pillow's other decoders, of which some start programs, stay unused."""
_BY_OPENCV = {(8, 0), (16, 0), (8, 2), (16, 2), (16, 4), (16, 6)}
"""(bits, colour) of the PNGs that OpenCV decodes: to the same values several times faster, and 16 bits whole."""


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, from its header; a PNG's checksums are all verified, without decoding it.

    Raises:
        DataError: the file is missing, damaged, no image or no regular file.
    """
    if path.suffix.lower() == ".png":
        png = Png.of(_bytes(path), path)
        return png.height, png.width
    require_file(path, MAX_IMAGE_BYTES)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            check_size(image.height, image.width, path)
            return image.height, image.width
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly every kind of error on damaged files
        raise unreadable(path, error) from error


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
    image = _decode(data, where)
    if isinstance(image, np.ndarray):
        pixels = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
    elif image.mode in ("L", "LA"):
        grey = np.asarray(image.getchannel(0))
    elif image.mode in ("RGB", "RGBA", "RGBX"):
        return np.ascontiguousarray(np.asarray(image)[..., :3])
    elif image.mode in ("1", "P", "PA", "CMYK", "YCbCr"):
        _check_palette(image, where)
        return np.array(image.convert("RGB"))
    else:
        raise DataError(f"{where}: pixels of type {image.mode!r}; expected 8 or 16 bits, grey, palette or colour.")
    return np.repeat(grey[:, :, None], 3, axis=2)


def decode_values(data: bytes, where: object) -> np.ndarray:
    """An encoded mask as uint8 or uint16 (H, W): grey values, or palette indices, as stored.

    Colour is taken where its channels are equal; alpha is dropped. A palette may be shorter than the indices go.

    Raises:
        DataError: damaged, no image, or real colours.
    """
    image = _decode(data, where)
    if isinstance(image, np.ndarray):
        return image if image.ndim == 2 else _one_channel(image, where)
    bits = data[24] if data.startswith(SIGNATURE) else bits_of(image)
    if image.mode in ("L", "P", "1"):
        values = np.asarray(image, dtype=np.uint8)
        narrow = image.mode == "L" and bits in (2, 4)
        return values // (255 // ((1 << bits) - 1)) if narrow else values  # Pillow spreads them over 0 to 255
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if bits > 8:  # Pillow keeps the upper byte only: a 1 or 255 would be 0
        raise DataError(f"{where}: a mask of {bits} bits in several channels; expected one channel. Save it as PNG.")
    if image.mode in ("LA", "PA"):
        return np.asarray(image.getchannel(0))
    if image.mode in ("RGB", "RGBA"):
        return _one_channel(np.asarray(image), where)
    raise DataError(f"{where}: mask pixels of type {image.mode!r}; expected 1, 8 or 16 bits, grey or palette.")


def _bytes(path: Path) -> bytes:
    return read_bytes(path, MAX_IMAGE_BYTES)


def _decode(data: bytes, where: object) -> np.ndarray | Image.Image:
    """The pixels, grey (H, W) or RGB (H, W, 3), uint8 or uint16; or what Pillow makes of all other files."""
    if data.startswith(SIGNATURE) or str(where).lower().endswith(".png"):
        png = Png.of(data, where)
        png.verify_pixels(where)
        data = png.bare()
        if (png.bits, png.colour) in _BY_OPENCV:
            return _by_opencv(data, where)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(image.height, image.width, where)
            if image.format in ("JPEG", "MPO"):
                pixels = decode_strictly(data, image.mode, where)
                if image.mode != "CMYK":
                    return pixels
            elif image.format == "TIFF":
                verify_strips(image, data, where)
            image.load()
            return image
    except DataError:
        raise
    except Exception as error:  # as above
        raise unreadable(where, error) from error


def _by_opencv(data: bytes, where: object) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise unreadable(where, "its pixel data do not fill the image")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _one_channel(values: np.ndarray, where: object) -> np.ndarray:
    if (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
        return np.ascontiguousarray(values[..., 0])
    raise DataError(f"{where}: a mask in colours; expected one grey value or palette index a pixel.")


def _check_palette(image: Image.Image, where: object) -> None:
    """Refuse indices past the palette's end, which Pillow would draw black."""
    if image.mode != "P":
        return
    colours, highest = len(image.getpalette() or []) // 3, int(np.asarray(image).max())
    if highest >= colours:
        raise unreadable(where, f"its palette has {colours} colours, but a pixel asks for number {highest + 1}")
