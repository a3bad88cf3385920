"""The sample data set: drawn seismic sections in TGS layout, with the truth of the test images beside them."""

import csv
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from saltern import rle
from saltern.config import SampleConfig
from saltern.data.layouts.section import Section, draw_section
from saltern.data.layouts.tgs import read_tgs
from saltern.data.source.dataset import Dataset
from saltern.data.source.limits import MAX_LIST_BYTES, read_bytes
from saltern.errors import DataError, StorageError
from saltern.files import atomic_folder

_LOG = logging.getLogger(__name__)
_DRAWING = 3
"""Raised when the drawing itself changes, so that older samples are drawn again."""


def read_sample(config: SampleConfig) -> Dataset:
    """The sample data set at `config.root`, drawn first where it is not there as configured.

    Raises:
        DataError: see `draw_sample` and `read_tgs`.
    """
    draw_sample(config)
    return read_tgs(config)


def draw_sample(config: SampleConfig) -> Path:
    """Draw the sample at `config.root` unless it is there with the same settings; gives the root.

    The same settings give the same files, byte for byte. `test_truth.csv` holds the truth of the test images in the
    form of a submission; `sample.json`, written with the rest in one step, holds the settings.

    Raises:
        DataError: the folder is there and holds something else than a drawn sample; it is left alone.
    """
    root = Path(config.root).expanduser().absolute()
    settings = {key: getattr(config, key) for key in ("train", "test", "side", "seed")} | {"drawing": _DRAWING}
    found = _settings(root)
    if found == settings:
        return root
    if found is None and root.exists() and any(root.iterdir()):
        raise DataError(
            f"{root}: holds files, but no sample.json of a drawn sample; it is left as it is. "
            "Set dataset.root to a folder of its own, or delete this one."
        )
    _LOG.info("drawing the sample data set in %s", root)
    try:
        with atomic_folder(root) as drawn:
            _draw(drawn, config)
            (drawn / "sample.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    except StorageError:
        if _settings(root) != settings:  # another process may have drawn the same in the meantime, which is as good
            raise
    return root


def _settings(root: Path) -> dict[str, int] | None:
    try:
        content = json.loads(read_bytes(root / "sample.json", MAX_LIST_BYTES))
    except (ValueError, RecursionError):  # DataError and UnicodeDecodeError are ValueErrors
        return None
    return content if isinstance(content, dict) else None


def _draw(root: Path, config: SampleConfig) -> None:
    folders = [root / "train" / "images", root / "train" / "masks", root / "test" / "images"]
    for folder in folders:
        folder.mkdir(parents=True)
    runs: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    depths: list[tuple[str, str]] = []
    for number in range(config.train + config.test):
        part = "train" if number < config.train else "test"
        name = hashlib.sha256(f"saltern {config.seed} {number}".encode()).hexdigest()[:10]
        section = draw_section(np.random.default_rng([config.seed, number]), config.side)
        _save(section, root / part, name, with_mask=part == "train")
        runs[part].append((name, rle.encode(section.mask)))
        depths.append((name, str(section.depth)))
    _write_csv(root / "train.csv", ("id", "rle_mask"), runs["train"])
    _write_csv(root / "test_truth.csv", ("id", "rle_mask"), runs["test"])
    _write_csv(root / "sample_submission.csv", ("id", "rle_mask"), [(name, "1 1") for name, _ in runs["test"]])
    _write_csv(root / "depths.csv", ("id", "z"), sorted(depths))


def _save(section: Section, folder: Path, name: str, *, with_mask: bool) -> None:
    Image.fromarray(np.repeat(section.image[:, :, None], 3, axis=2)).save(folder / "images" / f"{name}.png")
    if with_mask:
        Image.fromarray(section.mask.astype(np.uint16) * 65535).save(folder / "masks" / f"{name}.png")


def _write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
