import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saltern.config import TgsConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.cache import ImageCache, ImageSource, content_key, open_source
from saltern.data.loading.geometry import scale_image, scale_mask
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError, StorageError

Write = Callable[[Path, np.ndarray], None]


def key_of(root: Path) -> str:
    config, dataset = opened(root)
    return content_key(dataset, dataset.train, config)


def opened(root: Path, **changes: object) -> tuple[TgsConfig, Dataset]:
    config = TgsConfig(**{"root": str(root), "cache_dir": str(root.parent / "cache")} | changes)
    return config, open_dataset(config)


@pytest.mark.parametrize("cache", ["none", "memory", "file"])
@pytest.mark.parametrize("scaling", [{}, {"resize": [30, 41]}, {"long_side": 12}])
def test_every_source_gives_the_pixels_of_the_files(tgs_root: Path, cache: str, scaling: dict[str, object]) -> None:
    config, dataset = opened(tgs_root, cache=cache, **scaling)
    source = open_source(dataset, dataset.train, config)
    assert len(source) == 4
    for position, row in enumerate(dataset.train.itertuples()):
        size = source.scaled[position]
        np.testing.assert_array_equal(source.image(position), scale_image(dataset.read_image(row), size))
        np.testing.assert_array_equal(source.mask(position), scale_mask(dataset.read_mask(row), size))
        np.testing.assert_array_equal(source.truth(position), dataset.read_mask(row))
    test = open_source(dataset, dataset.test, config)
    assert test.image(1).shape == (*test.scaled[1], 3)
    for read in (test.mask, test.truth):
        with pytest.raises(DataError, match="no mask is known"):
            read(0)


def test_a_cache_does_not_touch_the_files_again_and_a_plain_source_does(tgs_root: Path) -> None:
    config, dataset = opened(tgs_root)
    cached, plain = open_source(dataset, dataset.train, config), ImageSource(dataset, dataset.train, config)
    before = cached.image(0).copy()
    (tgs_root / "train" / "images" / "a.png").unlink()
    np.testing.assert_array_equal(cached.image(0), before)
    with pytest.raises(DataError, match="no such file"):
        plain.image(0)


def test_past_the_limit_a_file_is_made_once_and_found_again(tgs_root: Path) -> None:
    config, dataset = opened(tgs_root, cache_mb=0)
    first = open_source(dataset, dataset.train, config)
    (file,) = (tgs_root.parent / "cache").iterdir()
    made = file.stat().st_mtime_ns, file.stat().st_ino
    assert file.stat().st_size == 4 * 20 * 24 * 4 + 32, "pixels, and their SHA-256"
    again = open_source(dataset, dataset.train, config)
    assert made == (file.stat().st_mtime_ns, file.stat().st_ino)
    np.testing.assert_array_equal(first.image(2), again.image(2))
    assert isinstance(again._bytes, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        again.image(2)[0, 0] = 0


@pytest.mark.parametrize("damage", ["zeroed", "cut", "one bit"])
def test_an_altered_cache_is_told_and_decoded_anew(
    damage: str, tgs_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, dataset = opened(tgs_root, cache="file")
    right = [open_source(dataset, dataset.train, config).image(row).copy() for row in range(4)]
    (file,) = (tgs_root.parent / "cache").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "one bit":
        content[1000] ^= 1
    changed = {"zeroed": bytes(len(content)), "cut": content[:-100], "one bit": content}[damage]
    file.write_bytes(changed)
    again = open_source(dataset, dataset.train, config)
    assert "cut or was altered; decoded anew" in caplog.text
    assert all(np.array_equal(again.image(row), right[row]) for row in range(4))


FILLER = """
import logging, sys
from pathlib import Path
from saltern.config import TgsConfig
from saltern.data.layouts.opening import open_dataset
from saltern.data.loading.cache import open_source
logging.basicConfig(level=logging.INFO)
config = TgsConfig(root=sys.argv[1], cache_dir=sys.argv[2])
dataset = open_dataset(config)
print(open_source(dataset, dataset.train, config, shared=True).image(1).sum())
"""


def test_several_processes_fill_one_file_once(tgs_root: Path) -> None:
    """Memory would be enough, but it would be needed once a process."""
    call = [sys.executable, "-c", FILLER, str(tgs_root), str(tgs_root.parent / "cache")]
    started = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=100) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    assert len({out for out, _ in said}) == 1
    assert sum("decoding 4 images into" in err for _, err in said) == 1
    assert [path.suffix for path in (tgs_root.parent / "cache").iterdir()] == [".pixels"]


def test_a_cache_that_cannot_be_written_is_told(tgs_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, dataset = opened(tgs_root, cache="file", cache_dir=str(tgs_root / "train.csv"))
    with pytest.raises(StorageError, match=r"cannot be written: .*Set dataset\.cache_dir"):
        open_source(dataset, dataset.train, config)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    config, dataset = opened(tgs_root, cache="file")
    with pytest.raises(StorageError, match="No space left"):
        open_source(dataset, dataset.train, config)
    assert list((tgs_root.parent / "cache").iterdir()) == []


def test_the_key_changes_with_content_and_settings_and_only_then(tgs_root: Path, png: Write) -> None:
    config, dataset = opened(tgs_root)
    key = content_key(dataset, dataset.train, config)
    assert key == content_key(dataset, dataset.train, config)
    os.utime(tgs_root / "train" / "images" / "a.png", (1, 1))
    assert key == content_key(dataset, dataset.train, config)
    moved = tgs_root.rename(tgs_root.with_name("moved"))
    other = opened(moved)[1]
    assert key == content_key(other, other.train, config)
    keys = {key, content_key(other, other.train[:3], config), content_key(other, other.train[::-1], config)}
    keys.add(content_key(other, other.train, opened(moved, resize=[8, 8])[0]))
    (moved / "train.csv").write_text(
        (moved / "train.csv").read_text().replace("\nd,", "\nd,1 1 3 1\nx,").split("\nx,")[0]
    )
    keys.add(key_of(moved))
    png(moved / "train" / "masks" / "a.png", np.zeros((20, 24), np.uint8))
    keys.add(key_of(moved))
    png(moved / "train" / "images" / "a.png", np.zeros((20, 24, 3), np.uint8))
    keys.add(key_of(moved))
    assert len(keys) == 7


def test_all_images_that_cannot_be_decoded_are_told_and_no_half_file_stays(tgs_root: Path) -> None:
    config, dataset = opened(tgs_root, cache="file")
    for name in "ac":
        (tgs_root / "train" / "images" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        ImageCache(dataset, dataset.train, config, tgs_root.parent / "cache" / "x.pixels")
    assert "a.png" in str(caught.value)
    assert "c.png" in str(caught.value)
    assert list((tgs_root.parent / "cache").iterdir()) == []
