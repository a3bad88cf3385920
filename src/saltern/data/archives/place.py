"""Unpack archives as Kaggle and Pascal VOC hand them out into a layout: checked first, then put in place at once."""

import hashlib
import json
import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from saltern.config import DatasetConfig
from saltern.data.archives.unpack import SUFFIXES, Budget, is_archive, unpack
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError
from saltern.progress import Progress

log = logging.getLogger(__name__)

MANIFEST = "import.json"
"""Written into the data set: which archives it came from."""
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Imported:
    """The outcome of an import."""

    dataset: Dataset
    files: int
    """Files unpacked; 0 where the same archives had been imported before."""
    bytes: int

    @property
    def again(self) -> bool:
        """The same archives lay in place already."""
        return self.files == 0


def import_archive(archive: str | Path, config: DatasetConfig, progress: Progress | None = None) -> Imported:
    """Unpack `archive` to `config.root` in the form of `config.layout`.

    The files go to a folder beside the root, are opened as the layout, and only then take the root's place. The same
    archives imported again change nothing; other archives replace an earlier import, but no folder of other origin.

    Args:
        archive: a .zip or .tar file, or a folder with such files and CSVs (what Kaggle hands out one by one). An inner
            `train.zip` becomes the folder `train`.
        config: layout and root, and what else the layout needs to be opened.
        progress: told of every file.

    Raises:
        DataError: unreadable or truncated, absurdly large, paths that leave the target, links, not what the layout
            promises, or a root that holds something else. What lay at the root is untouched.
    """
    source, root = Path(archive).expanduser(), Path(config.root).expanduser().absolute()
    sources = _sources(source)
    digest = _digest(sources)
    manifest = _manifest(root)
    if manifest is not None and manifest.get("digest") == digest:
        try:
            return Imported(open_dataset(config), 0, 0)
        except DataError as error:
            log.warning("%s: imported before, but no longer sound; unpacked anew. %s", root, error)
    if manifest is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(
            f"{root}: holds files that were not imported; they are left alone. Set dataset.root to another folder."
        )
    staging = root.with_name(f".{root.name}.import.{os.getpid()}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        staging.mkdir(parents=True)
        budget = Budget(sum(path.stat().st_size for path in sources))
        for path in sources:
            unpack(
                path, staging, budget, progress or Progress(), inner=source.is_dir() or path.stem in ("train", "test")
            )
        _hoist(staging)
        open_dataset(replace(config, root=str(staging)))
        note = {"archives": [path.name for path in sources], "digest": digest, "files": budget.files}
        (staging / MANIFEST).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
        _put_in_place(staging, root)
    except DataError as error:
        raise DataError(str(error).replace(str(staging), str(root))) from error
    except OSError as error:
        raise DataError(f"{root}: could not be written ({error.strerror}); nothing was changed.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Imported(open_dataset(config), budget.files, budget.bytes)


def _sources(source: Path) -> list[Path]:
    if source.is_file():
        if not is_archive(source):
            raise DataError(
                f"{source}: not an archive by its name; expected one of {', '.join(SUFFIXES)}, or a folder of them."
            )
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder; expected an archive, or a folder with archives and CSVs.")
    found = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    wanted = [path for path in found if is_archive(path) or path.suffix.lower() == ".csv"]
    if not any(is_archive(path) for path in wanted):
        raise DataError(f"{source}: no archive in this folder; expected files ending in {', '.join(SUFFIXES)}.")
    return wanted


def _digest(sources: list[Path]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for path in sources:
        total.update(path.name.encode())
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                total.update(chunk)
    return total.hexdigest()


def _manifest(root: Path) -> dict[str, object] | None:
    try:
        content = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "digest" in content else None


def _hoist(staging: Path) -> None:
    """Where everything lies in one wrapping folder, which no layout has at its root, take that away."""
    entries = list(staging.iterdir())
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name in ("VOCdevkit", "train", "test", "images"):
        return
    wrapping = entries[0].rename(staging / f"{entries[0].name}.wrapping.tmp")
    for entry in list(wrapping.iterdir()):
        entry.rename(staging / entry.name)
    wrapping.rmdir()


def _put_in_place(staging: Path, root: Path) -> None:
    """Rename `staging` to `root`; what an earlier import left there comes back if that fails."""
    old = root.with_name(f".{root.name}.old.{os.getpid()}.tmp")
    had = root.exists()
    if had:
        root.rename(old)
    try:
        staging.rename(root)
    except OSError:
        if had:
            old.rename(root)
        raise
    shutil.rmtree(old, ignore_errors=True)
