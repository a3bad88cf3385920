"""Pictures and probability maps of all images, in the page, or in side files where it would be heavy with them.

A map holds for every pixel how many of the page's levels (the positions of its slider) its probability exceeds, so the
mask at each position is exactly that of the stored probabilities, though a pixel takes one byte.
"""

import base64
import json
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from saltern.files import atomic_folder, delete
from saltern.report.pictures import Sample

LONGEST = 256
"""Longer sides are shrunk to this many pixels, by taking each k-th pixel of the map."""
CHUNK = 64
"""Images that are read together."""
HEAVY = 11_000_000
"""Bytes of tiles that a page holds; with more it would pass 15 MB together with its figures and tables."""
MOST_LEVELS = 200
"""So that a level takes one byte, and the differences of neighbours do."""


@dataclass(frozen=True)
class Tile:
    """An image as text, for a script."""

    picture: str
    """WebP, base64."""
    levels: str
    """Levels, then truth in {0, 1, 2 = void}, a byte a pixel and row by row; zlib, base64."""
    width: int
    height: int
    step: int
    """Every how many pixels of the image the map has one."""


def levels_of(*more: float) -> NDArray[np.float32]:
    """Positions of the slider, ascending: hundredths, and `more`, each in [0, 1)."""
    hundredths = np.arange(1, 100) / 100
    found = np.unique(np.array([*hundredths, *more], np.float32))
    return found if len(found) <= MOST_LEVELS else levels_of(*more[: len(more) // 2])


def tile(sample: Sample, levels: NDArray[np.float32]) -> Tile:
    """`sample` with its probabilities counted in `levels` (T,), ascending."""
    step = max(1, -(-max(sample.target.shape) // LONGEST))
    height, width = (-(-side // step) for side in sample.target.shape)
    small = sample.image if step == 1 else cv2.resize(sample.image, (width, height), interpolation=cv2.INTER_AREA)
    good, data = cv2.imencode(".webp", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, 84])
    assert good, f"a picture of shape {small.shape} could not be encoded"
    return Tile(_base64(data.tobytes()), _base64(packed(sample, levels, step)), width, height, step)


def packed(sample: Sample, levels: NDArray[np.float32], step: int) -> bytes:
    """Levels exceeded and truth of every `step`-th pixel, as `Tile.levels` has them before base64."""
    probs = np.asarray(sample.probs[::step, ::step], np.float32)
    exceeded = np.searchsorted(levels, probs, side="left").astype(np.uint8)
    truth = sample.target[::step, ::step]
    kinds = np.where(truth == 255, 2, truth == 1).astype(np.uint8)
    return zlib.compress(exceeded.tobytes() + kinds.tobytes(), 9)


class TileWriter:
    """Collects tiles in chunks; use as a context. Beyond `heavy` bytes they go to files of the folder `beside`.

    A folder of an earlier page is replaced, or deleted where this page needs none.
    """

    def __init__(self, beside: Path, key: str, heavy: int = HEAVY) -> None:
        self.key = key
        """What page and side files know each other by."""
        self.chunks: list[str] = []
        """For the page: JSON of each chunk; empty once the tiles lie in side files."""
        self.files: list[Path] = []
        """Side files, each of a chunk."""
        self._beside, self._heavy = beside, heavy
        self._open: list[tuple[str, str]] = []
        self._stack = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> "TileWriter":
        return self

    def add(self, made: Tile) -> None:
        """Take the tile of the next image."""
        self._open.append((made.picture, made.levels))
        if len(self._open) == CHUNK:
            self._close_chunk()

    def _close_chunk(self) -> None:
        if not self._open:
            return
        text, self._open = json.dumps(self._open, separators=(",", ":")), []
        if self._folder is not None:
            self._write(self._folder, text)
            return
        self.chunks.append(text)
        if sum(map(len, self.chunks)) > self._heavy:
            self._folder = self._stack.enter_context(atomic_folder(self._beside))
            chunks, self.chunks = self.chunks, []
            for chunk in chunks:
                self._write(self._folder, chunk)

    def _write(self, folder: Path, text: str) -> None:
        name = f"{len(self.files)}.js"
        (folder / name).write_text(f"salternTiles({json.dumps(self.key)},{len(self.files)},{text});\n", "ascii")
        self.files.append(self._beside / name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._close_chunk()
            if self._folder is None:
                delete(self._beside)
        self._stack.__exit__(kind, error, trace)


def script_json(content: Any) -> str:
    """JSON that may stand between script tags of a page; NaN is refused, since JSON has none."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
