"""What decoders guess at or leave out is an error, and nothing is printed."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from saltern.data.source.images import decode_rgb, decode_values
from saltern.data.source.masks import MaskValues
from saltern.errors import DataError


def scene(height: int = 203, width: int = 177) -> np.ndarray:
    random = np.random.default_rng(0)
    smooth = np.dstack([gaussian_filter(random.standard_normal((height, width)), 3) for _ in range(3)])
    return np.clip(128 + 50 * smooth / smooth.std() + random.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


JPEGS: list[dict[str, object]] = [
    {},
    {"quality": 95, "subsampling": 0},
    {"subsampling": 1},
    {"progressive": True},
    {"optimize": True},
    {"restart_marker_blocks": 3},
    {"keep_rgb": True},
    {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"},  # turned by 90 degrees
]


@pytest.mark.parametrize("options", JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_sound_jpeg_has_the_pixels_that_pillow_reads(options: dict[str, object], mode: str) -> None:
    if mode != "RGB":
        options = {key: value for key, value in options.items() if key not in ("keep_rgb", "subsampling")}
    data = saved(Image.fromarray(scene()).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_rgb(data, "x"), expected)
    followed = data + b"\0" * 5000  # cameras leave room behind the end
    np.testing.assert_array_equal(decode_rgb(followed, "x"), expected)
    if mode == "L":
        np.testing.assert_array_equal(decode_values(data, "x"), expected[..., 0])


def test_a_jpeg_that_cannot_be_decoded_strictly_is_refused() -> None:
    data = saved(Image.fromarray(scene()).convert("CMYK"), "JPEG", subsampling=1)
    with pytest.raises(DataError, match="subsampled in an unusual way"):
        decode_rgb(data, "x")


@pytest.mark.parametrize("options", JPEGS)
def test_a_jpeg_that_lost_a_part_is_refused(options: dict[str, object], capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow reads the first two without a word."""
    data = saved(Image.fromarray(scene()), "JPEG", **options)
    third = len(data) // 3
    for lost in (data[:third] + bytes(third) + data[2 * third :], data[:third] + b"\xff\xd9", data[:-1000]):
        with pytest.raises(DataError, match=r"^x: not readable as an image: "):
            decode_rgb(lost, "x")
    assert capfd.readouterr().err == ""


def test_a_progressive_jpeg_needs_all_its_scans() -> None:
    data = saved(Image.fromarray(scene()), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(DataError, match="scans are missing"):
        decode_rgb(data[:last] + b"\xff\xd9", "x")
    with pytest.raises(DataError, match="scans; at most 500"):
        decode_rgb(data[:last] + data[last:-2] * 600 + b"\xff\xd9", "x")


@pytest.mark.parametrize("pixels", [np.zeros((900, 900), np.uint8), np.pad(scene(50, 50)[..., 0], 400)])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_large_even_areas_are_no_holes(pixels: np.ndarray, options: dict[str, object]) -> None:
    assert decode_rgb(saved(Image.fromarray(pixels), "JPEG", **options), "x").shape[:2] == pixels.shape[:2]


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_adobe_deflate"])
def test_what_a_tiff_holds_compressed_is_verified(
    mode: str, compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    image = Image.fromarray(scene()).convert(mode)
    data = saved(image, "TIFF", compression=compression)
    np.testing.assert_array_equal(decode_rgb(data, "x"), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    third = len(data) // 3
    with pytest.raises(DataError):
        decode_rgb(data[:third] + bytes(third) + data[2 * third :], "x")
    assert capfd.readouterr().err == ""


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(bits: int, colour: int, rows: bytes, *others: tuple[bytes, bytes]) -> bytes:
    """A PNG of 4 x 3 pixels by hand."""
    header = struct.pack(">IIBBBBB", 4, 3, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *others, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


INDICES = b"\0\0\1\2\3" * 3


def test_a_palette_must_hold_the_colours_that_pixels_ask_for() -> None:
    whole, short = (b"PLTE", bytes(range(12))), (b"PLTE", bytes(range(9)))
    assert decode_rgb(png(8, 3, INDICES, whole), "x")[0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    with pytest.raises(DataError, match="palette has 3 colours, but a pixel asks for number 4"):
        decode_rgb(png(8, 3, INDICES, short), "x")
    assert decode_values(png(8, 3, INDICES, short), "x")[0].tolist() == [0, 1, 2, 3]  # masks need no colours
    for decode in (decode_rgb, decode_values):
        with pytest.raises(DataError, match="no palette"):
            decode(png(8, 3, INDICES), "x")


@pytest.mark.parametrize("value", [1, 255, 65535])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_masks_of_16_bits_keep_their_lower_byte(value: int, colour: int, channels: int) -> None:
    """Pillow reads 16-bit colour by its upper byte: 1 and 255 would be 0."""
    line = b"\0" + b"".join(struct.pack(f">{channels}H", *[one] * channels) for one in (0, value, value, 0))
    assert MaskValues().target(decode_values(png(16, colour, line * 3), "x"), "x").tolist() == [[0, 1, 1, 0]] * 3


def test_a_mask_that_would_be_read_by_halves_is_refused() -> None:
    data = cv2.imencode(".tif", np.full((3, 4, 3), 255, np.uint16))[1].tobytes()
    with pytest.raises(DataError, match="16 bits in several channels"):
        decode_values(data, "x")


@pytest.mark.parametrize(
    ("rows", "others", "why"),
    [
        (b"\7" * 15, (), "unknown filter"),
        (bytes(16), (), "go on after the 15 bytes"),
        (bytes(14), (), "end after 14 of 15"),
        (bytes(15), ((b"CgBI", b""),), "unknown"),
        (bytes(15), ((b"IHDR", bytes(13)),), "out of order"),
    ],
)
def test_a_png_that_contradicts_itself_is_refused_in_silence(
    rows: bytes, others: tuple[tuple[bytes, bytes], ...], why: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=why):
        decode_rgb(png(8, 0, rows, *others), "x")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", [b"iCCP", b"tRNS", b"gAMA", b"acTL", b"tEXt"])
@pytest.mark.parametrize("decode", [decode_rgb, decode_values])
def test_what_pixels_do_not_need_is_not_looked_at(
    kind: bytes, decode: Callable[..., np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    assert decode(png(8, 0, b"\0\1\2\3\4" * 3, (kind, b"\1" * 9)), "x")[0].ravel()[-1] == 4
    assert capfd.readouterr().err == ""


def test_the_checksum_of_the_pixels_themselves_counts() -> None:
    packed = bytearray(zlib.compress(bytes(15)))
    packed[-1] ^= 1
    header = struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", bytes(packed)), (b"IEND", b"")]
    with pytest.raises(DataError, match="incorrect data check"):
        decode_rgb(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts), "x")
