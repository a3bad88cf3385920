"""Pascal VOC result PNGs: a folder of palette images, written whole, read back and proven."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from saltern.errors import DataError, RunError
from saltern.files import atomic_folder
from saltern.submission.table import Sizes


@dataclass(frozen=True)
class VocProof:
    """What was found when the folder was read back; it exists only where everything was right."""

    files: int
    empty: int
    """Images without foreground."""


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colours, uint8 (256, 3), RGB: the bits of the index, dealt to the channels in turn, highest bit first."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for step in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> (3 * step + channel)) & 1) << (7 - step)).astype(np.uint8)
    return colours


def write_voc_results(
    folder: Path, masks: Iterable[tuple[str, NDArray[Any]]], ids: Sequence[str], sizes: Sizes, class_id: int
) -> VocProof:
    """Write `folder`/ID.png for each of `ids`: VOC's palette, `class_id` where the mask is 1, 0 elsewhere.

    The files are written beside `folder`, read back and compared with the masks that were handed in; only then do they
    take the place of an older `folder`.

    Args:
        folder: such as results/VOC2012/Segmentation/comp6_test_cls.
        masks: pairs of id and mask (H, W), {0, 1}; in any order, seen once, never held together.
        ids: of all images.
        sizes: of the images, as the data set knows them; not taken from `masks`.
        class_id: of the foreground, 1 to 20.

    Raises:
        DataError: ids that are missing, unknown or there twice, or masks with other values or of another size than
            their image; lists them all.
        RunError: the proof failed; `folder` is left as it was.
    """
    assert 1 <= class_id <= 20, class_id
    with atomic_folder(folder) as new:
        digests, problems = _write(new, masks, {name: sizes[name] for name in ids}, class_id)
        problems += [f"{name!r}: is asked for {times} times" for name, times in Counter(ids).items() if times > 1]
        problems += [f"{name!r}: no mask" for name in ids if name not in digests]
        if problems:
            raise DataError.of(str(folder), problems)
        return _prove(new, digests, sizes, class_id)


def _write(
    folder: Path, masks: Iterable[tuple[str, NDArray[Any]]], wanted: Sizes, class_id: int
) -> tuple[dict[str, bytes], list[str]]:
    palette = voc_palette().ravel().tolist()
    digests: dict[str, bytes] = {}
    problems = []
    for name, mask in masks:
        if name in digests:
            problems.append(f"{name!r}: a second mask")
        elif name not in wanted:
            problems.append(f"{name!r}: is not asked for")
        elif mask.shape != wanted[name] or not np.isin(mask, (0, 1)).all():
            found = f"shape {mask.shape}, values {np.unique(mask)[:4]}"
            problems.append(f"{name!r}: {found}; expected {wanted[name]}, the size of its image, and only 0 and 1")
            digests[name] = b""
        else:
            image = Image.fromarray(mask.astype(np.uint8) * np.uint8(class_id)).convert("L")
            image.putpalette(palette)
            image.save(folder / f"{name}.png")
            digests[name] = _digest(mask.astype(bool))
    return digests, problems


def _prove(folder: Path, digests: dict[str, bytes], sizes: Sizes, class_id: int) -> VocProof:
    expected = voc_palette()
    empty = 0
    for name, digest in digests.items():
        with Image.open(folder / f"{name}.png") as image:
            indices = np.asarray(image)
            palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
        sound = image.mode == "P" and indices.shape == sizes[name] and bool(np.isin(indices, (0, class_id)).all())
        same = sound and _digest(indices == class_id) == digest
        if not same or not np.array_equal(palette, expected[: len(palette)]) or len(palette) <= class_id:
            raise RunError(
                f"{folder.name}/{name}.png: read back, it is not the mask that was written; is the disk full?"
            )
        empty += not indices.any()
    return VocProof(len(digests), empty)


def _digest(mask: NDArray[np.bool_]) -> bytes:
    return hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes()).digest()
