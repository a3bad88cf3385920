from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saltern import rle


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tgs_root(tmp_path: Path) -> Path:
    """Four labelled and two test images, 20×24; masks of `a` and `b` as PNG, of `c` and `d` as run lengths only."""
    random, root = np.random.default_rng(0), tmp_path / "tgs"
    rows = []
    for name in "abcd":
        write_png(root / "train" / "images" / f"{name}.png", random.integers(0, 256, (20, 24, 3), np.uint8))
        mask = (random.random((20, 24)) < 0.3).astype(np.uint8) * (name != "b")
        if name in "ab":
            write_png(root / "train" / "masks" / f"{name}.png", mask.astype(np.uint16) * 65535)
        rows.append(f"{name},{rle.encode(mask)}")
    (root / "train.csv").write_text("id,rle_mask\n" + "\n".join(rows) + "\n")
    for name in ("0012", "0011"):
        write_png(root / "test" / "images" / f"{name}.png", random.integers(0, 256, (20, 24), np.uint8))
    (root / "sample_submission.csv").write_text("id,rle_mask\n0012,1 1\n0011,1 1\n")
    (root / "depths.csv").write_text("id,z\n" + "".join(f"{name},{100 + n}\n" for n, name in enumerate("abc")))
    return root


@pytest.fixture
def png() -> Callable[[Path, np.ndarray], None]:
    return write_png
