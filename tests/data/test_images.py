import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from saltern.data.source.csvs import read_csv
from saltern.data.source.images import decode_rgb, decode_values, read_rgb, read_size
from saltern.data.source.masks import MaskValues, coverage_of
from saltern.errors import DataError

RANDOM = np.random.default_rng(0)


def encoded(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


GREY = RANDOM.integers(0, 256, (13, 9), np.uint8)
COLOUR = RANDOM.integers(0, 256, (13, 9, 3), np.uint8)
GREY16 = RANDOM.integers(0, 1 << 16, (13, 9), np.uint16)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (COLOUR, COLOUR),
        (GREY, np.dstack([GREY] * 3)),
        (GREY16, np.dstack([(GREY16 >> 8).astype(np.uint8)] * 3)),
        (np.dstack([COLOUR, GREY]), COLOUR),
        (GREY > 99, np.dstack([(GREY > 99).astype(np.uint8) * 255] * 3)),
    ],
)
def test_every_pixel_type_becomes_rgb(tmp_path: Path, pixels: np.ndarray, expected: np.ndarray) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(encoded(pixels))
    image = read_rgb(path)
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)
    assert read_size(path) == (13, 9)


def test_palettes_are_colours_in_images_and_indices_in_masks() -> None:
    indices = RANDOM.integers(0, 4, (5, 6), np.uint8)
    image = Image.fromarray(indices).convert("L")
    colours = [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]
    image.putpalette(colours)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    np.testing.assert_array_equal(decode_values(stream.getvalue(), "x"), indices)
    np.testing.assert_array_equal(decode_rgb(stream.getvalue(), "x"), np.array(colours).reshape(4, 3)[indices])


@pytest.mark.parametrize("pixels", [GREY, GREY16, GREY > 5])
def test_mask_values_are_the_stored_ones(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_values(encoded(pixels), "x"), pixels)


def test_grey_saved_as_colour_is_a_mask_and_real_colours_are_not() -> None:
    np.testing.assert_array_equal(decode_values(encoded(np.dstack([GREY] * 3)), "x"), GREY)
    with pytest.raises(DataError, match="a mask in colours"):
        decode_values(encoded(COLOUR), "x")
    with pytest.raises(DataError, match="pixels of type 'F'"):
        decode_rgb(encoded(GREY.astype(np.float32), "TIFF"), "x")


def test_other_formats_are_read_and_told_apart_from_their_names(tmp_path: Path) -> None:
    for form, name in (("JPEG", "x.jpg"), ("BMP", "x.bmp"), ("GIF", "x.gif"), ("TIFF", "x.tif"), ("WEBP", "x.webp")):
        (tmp_path / name).write_bytes(encoded(GREY, form))
        assert read_size(tmp_path / name) == (13, 9)
        assert read_rgb(tmp_path / name).shape == (13, 9, 3)
    with pytest.raises(DataError, match="not as a PNG does"):
        decode_rgb(encoded(GREY, "JPEG"), "x.png")
    with pytest.raises(DataError, match="no such file"):
        read_size(tmp_path / "none.jpg")
    (tmp_path / "x.jpg").write_bytes(encoded(COLOUR, "JPEG")[:200])
    with pytest.raises(DataError, match="not readable as an image"):
        read_rgb(tmp_path / "x.jpg")


def damaged(original: bytes, random: np.random.Generator) -> bytes:
    """`original` with one to four of: bytes changed, cut out, repeated, put in; a cut end; a chunk with a right sum."""
    data = bytearray(original)
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(0, max(len(data), 1)))
        length = int(random.integers(1, 20))
        match random.integers(0, 6):
            case 0:
                data[at : at + length] = random.bytes(len(data[at : at + length]))
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length]
            case 3:
                data[at:at] = random.bytes(length)
            case 4:
                del data[at:]
            case 5:
                rewrite_chunk(data, random)
    return bytes(data)


def rewrite_chunk(data: bytearray, random: np.random.Generator) -> None:
    """Change a byte inside a chunk and put its checksum right, so that the decoder itself meets the damage."""
    starts, position = [], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if position + 12 + length > len(data):
            break
        starts.append((position, length))
        position += 12 + length
    filled = [item for item in starts if item[1]]
    if filled:
        start, length = filled[int(random.integers(len(filled)))]
        data[start + 8 + int(random.integers(length))] = int(random.integers(256))
        end = start + 8 + length
        data[end : end + 4] = zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY16, GREY > 99, np.dstack([COLOUR, GREY])])
def test_damaged_pngs_are_refused_or_read_never_a_crash(pixels: np.ndarray) -> None:
    original, random = encoded(pixels), np.random.default_rng(1)
    refusals = []
    for _ in range(500):
        data = damaged(original, random)
        for decode in (decode_rgb, decode_values):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # Pillow may warn of what it then refuses
                    decode(data, "x.png")
            except DataError as error:
                refusals.append(str(error))
    assert len(refusals) > 800
    assert all("x.png" in text for text in refusals)


def test_a_changed_pixel_byte_is_noticed_by_the_checksum() -> None:
    original = encoded(COLOUR)
    start = original.index(b"IDAT") + 4
    for at in range(start, start + 60):
        data = bytearray(original)
        data[at] ^= 1
        with pytest.raises(DataError, match="wrong checksum"):
            decode_rgb(bytes(data), "x.png")


def png(header: bytes, rows: bytes) -> bytes:
    """A PNG put together by hand."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "colour"), [(8, 0), (16, 0), (8, 2), (1, 0), (4, 0), (8, 4), (8, 6)])
@pytest.mark.parametrize("decode", [decode_rgb, decode_values])
def test_a_png_with_too_few_rows_is_refused(decode: Callable[..., np.ndarray], bits: int, colour: int) -> None:
    """Sound as a file, every checksum right; Pillow alone would read zeros for the missing rows."""
    line = 1 + (12 * bits * {0: 1, 2: 3, 4: 2, 6: 4}[colour] + 7) // 8
    header = struct.pack(">IIBBBBB", 12, 32, bits, colour, 0, 0, 0)
    assert decode(png(header, bytes(32 * line)), "x.png").shape[:2] == (32, 12)
    with pytest.raises(DataError, match=r"x\.png: .*pixel data"):
        decode(png(header, bytes(16 * line)), "x.png")


def test_an_interlaced_png_needs_the_rows_of_all_passes() -> None:
    """Adam7 of 9 x 13 grey pixels, counted by hand: columns and rows of its passes as below."""
    passes = [(2, 2), (1, 2), (3, 2), (2, 4), (5, 3), (4, 7), (9, 6)]
    size = sum(rows * (1 + columns) for columns, rows in passes)
    header = struct.pack(">IIBBBBB", 9, 13, 8, 4, 0, 0, 1)
    size += sum(rows * columns for columns, rows in passes)  # colour type 4 has a second value a pixel, alpha
    assert decode_values(png(header, bytes(size)), "x").shape == (13, 9)
    with pytest.raises(DataError, match="pixel data"):
        decode_values(png(header, bytes(size - 1)), "x")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_narrow_grey_is_read_as_stored(bits: int) -> None:
    values = RANDOM.integers(0, 1 << bits, (3, 8), np.uint8)
    packed = np.packbits(np.unpackbits(values[..., None], axis=2)[..., 8 - bits :].reshape(3, -1), axis=1)
    data = png(struct.pack(">IIBBBBB", 8, 3, bits, 0, 0, 0, 0), b"".join(b"\0" + bytes(row) for row in packed))
    np.testing.assert_array_equal(decode_values(data, "x"), values)
    np.testing.assert_array_equal(decode_rgb(data, "x")[..., 0], values * (255 // ((1 << bits) - 1)))


@pytest.mark.parametrize("size", [(0, 5), (1 << 30, 1 << 30), (100_000, 100_000), ((1 << 32) - 1, 1)])
def test_absurd_sizes_are_refused_before_memory_is_asked_for(size: tuple[int, int]) -> None:
    data = bytearray(encoded(GREY))
    data[16:24] = size[1].to_bytes(4, "big") + size[0].to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(DataError, match="it claims"):
        decode_rgb(bytes(data), "x.png")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_the_file_named(data: bytes) -> None:
    with pytest.raises(DataError, match="some/file"):
        decode_rgb(data, "some/file")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from(['"', ",", "\n", "\r", "id", "a", "1 1", "\0", "é", "﻿", " "])).map(
        lambda parts: ("id,rle_mask\n" + "".join(parts)).encode()
    )
)
def test_any_csv_is_a_table_of_texts_or_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    refusal = str(path)
    try:
        table = read_csv(path, ["id", "rle_mask"])
        assert {"id", "rle_mask"} <= set(table.columns)
        assert all(isinstance(value, str) for value in table.to_numpy().ravel())
    except DataError as error:
        refusal = str(error)
    assert str(path) in refusal


def test_csv_fields_stay_the_text_that_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b'\xef\xbb\xbfid,rle_mask\r\n007,NA\r\n1e5,\r\n\r\n"a,b","' + b"1 " * 200_000 + b'"\r\n')
    table = read_csv(path, ["id", "rle_mask"])
    assert table["id"].tolist() == ["007", "1e5", "a,b"]
    assert table["rle_mask"].tolist()[:2] == ["NA", ""]
    assert len(table["rle_mask"][2]) == 400_000


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2, 37, 254, 255]), min_size=1, max_size=12))
def test_coverage_is_the_share_of_foreground_among_valid_pixels(values: list[int]) -> None:
    rule = MaskValues(foreground=frozenset({37, 2}), background=frozenset({0, 1, 254}), void=frozenset({255}))
    target = rule.target(np.array([values], np.uint8), "x")
    assert target.tolist() == [[255 if value == 255 else int(value in (2, 37)) for value in values]]
    valid = [value for value in values if value != 255]
    expected = sum(value in (2, 37) for value in valid) / len(valid) if valid else 0
    assert coverage_of(target) == pytest.approx(expected)
