"""Damaged image files end with exactly the right pixels or a refusal, and with nothing on stderr.

Where a format has no checksum, a change can give another sound file. Which of these there are is decided without the
decoder under test, by `unknowable`; they are counted apart, as undetectable.
"""

import io
import os
import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from tries import Tally

from saltern.data.source.images import read_rgb, read_size
from saltern.data.source.masks import MaskValues

Random = np.random.Generator
PNG = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def picture(random: Random, channels: int = 3, bits: int = 8) -> np.ndarray:
    """Blotches and noise, (H, W, channels), of a size that no block divides."""
    height, width = random.integers(60, 130, 2)
    small = random.integers(0, 1 << bits, (9, 7, channels)).astype(np.float32)
    large = cv2.resize(small, (int(width), int(height)), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
    noisy = large + random.normal(0, 3, large.shape)
    return np.clip(noisy, 0, (1 << bits) - 1).astype(np.uint8 if bits <= 8 else np.uint16)


def png(values: np.ndarray, bits: int, colour: int, random: Random) -> bytes:
    """A PNG by hand, of `values` (H, W, channels), its pixel data in several chunks."""
    height, width, _ = values.shape
    shifts = np.arange(bits - 1, -1, -1)
    lines = np.packbits((values[..., None].astype(np.int64) >> shifts & 1).reshape(height, -1), axis=1)
    packed = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    cuts = [0, *sorted(random.integers(0, len(packed), 3).tolist()), len(packed)]
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    parts += [(b"PLTE", random.bytes(3 << bits))] if colour == 3 else []
    parts += [(b"IDAT", packed[start:end]) for start, end in pairwise(cuts)]
    return PNG + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def save(pixels: np.ndarray, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def any_png(random: Random) -> bytes:
    colour = int(random.choice([0, 2, 3, 4, 6]))
    bits = int(random.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(colour, [8, 16])))
    return png(picture(random, CHANNELS[colour], bits), bits, colour, random)


def any_jpeg(random: Random) -> bytes:
    options = [{}, {"progressive": True}, {"restart_marker_blocks": 5}, {"subsampling": 0, "quality": 92}]
    pixels = picture(random)
    if random.random() < 0.2:
        pixels = pixels[..., 0]
    if random.random() < 0.1:
        stream = io.BytesIO()
        Image.fromarray(pixels).convert("CMYK").save(stream, "JPEG")
        return stream.getvalue()
    return save(pixels, "JPEG", **options[int(random.integers(4))])


def any_other(random: Random) -> bytes:
    pixels = picture(random)
    form, options = [
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ][int(random.integers(8))]
    return save(pixels[..., 0] if form == "GIF" or random.random() < 0.2 else pixels, form, **options)


def damage(data: bytes, random: Random) -> tuple[str, bytes]:
    """One kind of damage, and what it leaves."""
    size = len(data)
    at, length = int(random.integers(size)), int(random.integers(1, size // 2))
    flipped = bytearray(data)
    for place in random.integers(0, size, int(random.integers(1, 5))):
        flipped[place] ^= 1 << int(random.integers(8))
    kinds = {
        "flipped": bytes(flipped),
        "cut": data[:at],
        "cut, with an end": data[:at] + (data[-12:] if data.startswith(PNG) else b"\xff\xd9"),
        "zeroed": data[:at] + bytes(len(data[at : at + length])) + data[at + length :],
        "random": data[:at] + random.bytes(len(data[at : at + length])) + data[at + length :],
        "left out": data[:at] + data[at + length :],
        "twice": data[: at + length] + data[at:],
        "longer": data + random.bytes(length),
        "empty": b"",
        "text": b"<html><body>404</body></html>",
        "whole": data,
    }
    name = str(random.choice(list(kinds)))
    return name, kinds[name]


def damaged_chunks(data: bytes, random: Random) -> tuple[str, bytes]:
    """Damage to a PNG of which every checksum is right."""
    parts = chunks_of(data)
    one, other = sorted(random.choice(len(parts), 2, replace=False).tolist())
    what = str(random.choice(["swapped", "left out", "twice", "rewritten", "renamed", "added"]))
    kind, content = parts[one]
    if what == "swapped":
        parts[one], parts[other] = parts[other], parts[one]
    elif what == "left out":
        del parts[one]
    elif what == "twice":
        parts.insert(other, parts[one])
    elif what == "rewritten" and content:
        place = int(random.integers(len(content)))
        parts[one] = kind, content[:place] + random.bytes(1) + content[place + 1 :]
    elif what == "renamed":
        parts[one] = bytes([kind[0], kind[1], kind[2], 65 + int(random.integers(26))]), content
    else:
        parts.insert(1, (bytes(random.choice([b"tRNS", b"gAMA", b"iCCP", b"tEXt", b"bKGD", b"sBIT"])), random.bytes(9)))
    changed = PNG + b"".join(chunk(*part) for part in parts)
    return f"{kind.decode()} {what}", changed


def complains(data: bytes, capfd: pytest.CaptureFixture[str]) -> bool:
    """Whether OpenCV, whose libjpeg is another build and prints what it notices, finds fault with a JPEG."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    return bool(capfd.readouterr().err) or pixels is None


def unknowable(form: str, how: str, data: bytes, capfd: pytest.CaptureFixture[str]) -> bool:
    """Whether `data`, with other pixels than before, may be a sound file: nothing in it contradicts itself.

    PNG: only a header or a palette that was written anew with a right checksum (8 bits grey and alpha are as long as
    16 bits grey). JPEG: what another libjpeg decodes without a word, such as a changed bit after which the codes fall
    into step again. The others have no checksum that is required; but what is cut is never whole.
    """
    if form == "png":
        return how in ("IHDR rewritten", "PLTE rewritten")
    if form == "jpeg":
        return not complains(data, capfd)
    return how not in ("cut", "cut, with an end", "empty", "text", "whole")


def try_pixels(tally: Tally, form: str, seed: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng([7, seed])
    data = {"png": any_png, "jpeg": any_jpeg, "other": any_other}[form](random)
    right = read_rgb(written(tmp_path / "sound", data))
    chunks = form == "png" and random.random() < 0.4
    how, changed = damaged_chunks(data, random) if chunks else damage(data, random)
    suffix = {"png": ".png", "jpeg": ".jpg", "other": ".tif"}[form]
    path = written(tmp_path / f"x{suffix if random.random() < 0.9 else '.png'}", changed)
    differs = []
    capfd.readouterr()

    def work() -> None:
        size = read_size(path)
        pixels = read_rgb(path)
        assert pixels.shape == (*size, 3)
        differs.append(not np.array_equal(pixels, right))

    what = f"{seed}, {how}"
    outcome = tally.attempt(what, work)
    assert capfd.readouterr().err == "", f"{what}: it prints"
    if differs == [True]:
        assert unknowable(form, how, changed, capfd), f"{tally.family}, {what}: other pixels than before the damage"
        tally.outcomes[outcome] -= 1
        tally.outcomes["undetectable"] += 1


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("form", "family"), [("png", "png"), ("jpeg", "jpeg"), ("other", "other formats")])
def test_damaged_images_are_right_or_refused(
    tally: Callable[[str], Tally], scale: int, form: str, family: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tally(f"pixels ({family})")
    for seed in range(60 * scale):
        try_pixels(mine, form, seed, tmp_path, capfd)
    assert mine.outcomes["right"] >= scale
    assert mine.outcomes["refused"] > 10 * scale


def test_a_jpeg_of_which_a_third_is_lost_is_always_refused(
    tally: Callable[[str], Tally], scale: int, tmp_path: Path
) -> None:
    mine = tally("pixels (jpeg, a third lost)")
    for seed in range(20 * scale):
        random = np.random.default_rng([8, seed])
        data = any_jpeg(random)
        third = len(data) // 3
        start = int(random.integers(max(third, data.index(b"\xff\xda") + 14), 2 * third))
        lost = [data[:start] + bytes(third) + data[start + third :], data[:start] + b"\xff\xd9", data[:start]]
        path = written(tmp_path / "x.jpg", lost[seed % 3])
        assert mine.attempt(f"{seed}", lambda path=path: read_rgb(path)) == "refused", seed


def test_what_is_no_file_is_refused_at_once(tally: Callable[[str], Tally], tmp_path: Path) -> None:
    mine = tally("pixels (no files)")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "nowhere.png").symlink_to(tmp_path / "none.png")
    (tmp_path / "itself.png").symlink_to(tmp_path / "itself.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "below").write_bytes(b"")
    for path in [*tmp_path.iterdir(), tmp_path / "below" / "x.png", tmp_path / "missing.tif"]:
        for read in (read_rgb, read_size):
            assert mine.attempt(f"{path.name}", lambda read=read, path=path: read(path)) == "refused"


def mask_file(random: Random) -> tuple[str, bytes, np.ndarray]:
    """A mask in any of the ways in which masks are saved: (suffix, file, the truth)."""
    truth = (picture(random, 1)[..., 0] > 128).astype(np.uint8)
    colour = int(random.choice([0, 2, 3, 4, 6]))
    bits = int(random.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(colour, [8, 16])))
    value = int(random.choice([one for one in (1, 255, 65535) if one < 1 << bits]))
    values = np.repeat(truth[..., None].astype(np.int64) * value, CHANNELS[colour], axis=2)
    if colour in (4, 6):
        values[..., -1] = int(random.choice([0, (1 << bits) - 1]))
    form = str(random.choice(["PNG", "PNG", "BMP", "GIF", "TIFF", "TIFF16"]))
    if form == "TIFF16":
        deep = np.repeat(truth[..., None].astype(np.uint16) * value, 3, axis=2)
        return ".tif", cv2.imencode(".tif", deep)[1].tobytes(), truth
    if form == "PNG":
        return ".png", png(values, bits, colour, random), truth
    return f".{form.lower()}", save(truth * np.uint8(value & 255), form), truth


def test_masks_are_never_silently_other_masks(
    tally: Callable[[str], Tally], scale: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tally("masks")
    for seed in range(60 * scale):
        random = np.random.default_rng([9, seed])
        suffix, data, truth = mask_file(random)
        how, changed = damage(data, random) if seed % 2 else ("whole", data)
        path = written(tmp_path / f"x{suffix}", changed)
        form = "png" if suffix == ".png" else "other"
        sound = how == "whole" or not unknowable(form, how, changed, capfd)

        differs: list[bool] = []

        def work(path: Path = path, truth: np.ndarray = truth, differs: list[bool] = differs) -> None:
            differs.append(not np.array_equal(MaskValues().read(path), truth))

        outcome = mine.attempt(f"{seed}, {suffix}, {how}", work)
        if differs == [True]:
            assert not sound, f"{seed}, {suffix}, {how}: another mask"
            mine.outcomes[outcome] -= 1
            mine.outcomes["undetectable"] += 1
        assert capfd.readouterr().err == ""
    assert mine.outcomes["right"] > 10 * scale
