"""An image as a small picture with exact outlines of its masks, for a page that stands alone."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saltern.files import atomic

Pixels = NDArray[np.uint8]

LONGEST = 480
"""Longer sides are shrunk to this many pixels for the page."""


@dataclass(frozen=True)
class Sample:
    """An image with its truth and its probabilities, all of one size."""

    image: Pixels
    """(H, W, 3), RGB."""
    target: NDArray[np.integer[Any]]
    """(H, W) of {0, 1, 255}."""
    probs: NDArray[np.floating[Any]]
    """(H, W) in [0, 1]."""
    presence: float | None = None
    """The probability that the image holds any foreground; None where none is stored."""


Load = Callable[[str], Sample]
"""Id → its sample."""


@dataclass(frozen=True)
class Outline:
    """The border of a mask as SVG path data, in pixels of the picture."""

    kind: str
    """Its CSS class: truth, mask, base, void."""
    path: str


@dataclass(frozen=True)
class Picture:
    """What the page draws of one image."""

    width: int
    height: int
    image: str
    """Data URI."""
    heat: str
    """Data URI of the probabilities as shades; empty for none."""
    outlines: tuple[Outline, ...]


def picture(
    image: Pixels,
    masks: dict[str, NDArray[Any]],
    target: NDArray[np.integer[Any]],
    probs: NDArray[np.floating[Any]] | None = None,
) -> Picture:
    """`image` (H, W, 3) with the outlines of `target`, its void shaded, and of `masks` (class → (H, W) of {0, 1}).

    Large images are shrunk with their masks; outlines then follow the shrunk masks.
    """
    step = max(1, -(-max(image.shape[:2]) // LONGEST))
    size = (-(-image.shape[1] // step), -(-image.shape[0] // step))
    image = np.ascontiguousarray(image)
    small = image if step == 1 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    outlines = [Outline("void", filled(target[::step, ::step] == 255))] if (target == 255).any() else []
    outlines.append(Outline("truth", border(target[::step, ::step] == 1)))
    outlines += [Outline(kind, border(mask[::step, ::step] == 1)) for kind, mask in masks.items()]
    heat = "" if probs is None else _data_uri(_shades(probs[::step, ::step]))
    return Picture(size[0], size[1], _data_uri(small[..., ::-1]), heat, tuple(outlines))


def border(mask: NDArray[np.bool_]) -> str:
    """The border between `mask` (H, W) and the rest as path data along pixel edges; image edges count as border."""
    bounded = np.pad(mask.astype(np.int8), 1)
    rows, columns = np.diff(bounded, axis=0)[:, 1:-1], np.diff(bounded, axis=1)[1:-1]
    across = [f"M{start} {row}h{length}" for row, start, length in _stretches(rows)]
    down = [f"M{column} {start}v{length}" for column, start, length in _stretches(columns.T)]
    return "".join(across + down)


def filled(mask: NDArray[np.bool_]) -> str:
    """The area of `mask` (H, W) as path data, a bar a row."""
    return "".join(f"M{start} {row}h{length}v1h-{length}z" for row, start, length in _stretches(mask.astype(np.int8)))


def _stretches(lines: NDArray[np.int8]) -> list[tuple[int, int, int]]:
    """(line, start, length) of every stretch of equal non-zero values within the lines of a 2-D array."""
    bounded = np.pad(lines, ((0, 0), (1, 1)))
    changes = bounded[:, 1:] != bounded[:, :-1]
    line, start = np.nonzero(changes[:, :-1] & (lines != 0))
    end = np.nonzero(changes[:, 1:] & (lines != 0))[1] + 1
    return list(zip(line.tolist(), start.tolist(), (end - start).tolist(), strict=True))


def _shades(probs: NDArray[np.floating[Any]]) -> Pixels:
    shades = (np.asarray(probs, np.float32).clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.applyColorMap(shades, cv2.COLORMAP_VIRIDIS)


def _data_uri(bgr: Pixels) -> str:
    """A PNG for small pictures, whose pixels matter, a JPEG for photographs."""
    small = max(bgr.shape[:2]) <= 160
    kind, options = ("png", []) if small else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 86])
    good, data = cv2.imencode(f".{kind}", np.ascontiguousarray(bgr), options)
    assert good, f"a picture of shape {bgr.shape} could not be encoded"
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write `pixels` uint8 (H, W, 3), RGB, as PNG in one step."""
    with atomic(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes())
