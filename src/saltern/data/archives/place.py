"""Unpack archives as Kaggle and Pascal VOC hand them out into a layout: checked first, then put in place at once."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from saltern.config import DatasetConfig
from saltern.data.archives.budget import Budget
from saltern.data.archives.formats import FORMATS, is_archive, stem_of
from saltern.data.archives.ground import Ground
from saltern.data.archives.names import folded, shown
from saltern.data.archives.replacing import MANIFEST, Belongings, put_in_place, read_manifest, recover
from saltern.data.archives.unpack import Unpacker
from saltern.data.layouts.opening import open_dataset
from saltern.data.source.dataset import Dataset
from saltern.errors import DataError
from saltern.files import clear_leftovers, delete, storage_errors, temporary_beside
from saltern.progress import Progress

log = logging.getLogger(__name__)

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Imported:
    """The outcome of an import."""

    dataset: Dataset
    files: int
    """Files of the data set that came from the archives; 0 where the same archives had been imported before."""

    @property
    def again(self) -> bool:
        """The same archives lay in place already."""
        return self.files == 0


def import_archive(archive: str | Path, config: DatasetConfig, progress: Progress | None = None) -> Imported:
    """Unpack `archive` to `config.root` in the form of `config.layout`.

    The files go to a folder beside the root, are opened as the layout, and only then take the root's place. The same
    archives imported again change nothing; other archives replace what an earlier import wrote, while files of the
    user's own, or changed by the user, stay. A folder of other origin is left alone.

    Args:
        archive: a .zip or .tar file, or a folder with such files and CSVs (what Kaggle hands out one by one). An inner
            `train.zip` becomes the folder `train`.
        config: layout and root, and what else the layout needs to be opened.
        progress: told of every file.

    Raises:
        DataError: unreadable or truncated, absurdly large, paths that leave the target, links, not what the layout
            promises, a root that holds something else, or a file of the user's in the way. What lay at the root is
            untouched.
        StorageError: the disk; the same holds.
    """
    source, root = Path(archive).expanduser(), Path(os.path.realpath(Path(config.root).expanduser()))
    sources = _sources(source)
    with storage_errors(root):
        recover(root)
        clear_leftovers(root.parent)
        digest = _digest(sources)
        earlier = read_manifest(root)
        if earlier is not None and earlier.digest == digest:
            try:
                return Imported(open_dataset(config), 0)
            except DataError as error:
                log.warning("%s: imported before, but no longer sound; unpacked anew. %s", root, error)
        if earlier is None and root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise DataError(
                f"{root}: holds files that were not imported; they are left alone. Set dataset.root to another folder."
            )
        if earlier is not None and earlier.written is None:
            raise DataError(
                f"{root}: imported by an older version of Saltern, which did not note its files, so that yours among "
                "them could be lost; nothing was changed. Move the folder away, or set dataset.root to another one."
            )
        belongings = Belongings(root, {} if earlier is None else earlier.written or {})
        files = _import(sources, config, belongings, digest, progress or Progress(), inner=source.is_dir())
    return Imported(open_dataset(config), files)


def _import(
    sources: list[Path], config: DatasetConfig, belongings: Belongings, digest: str, progress: Progress, *, inner: bool
) -> int:
    """Unpack `sources`, whose `digest` is noted, and put them in place; gives the number of files."""
    root, staging = belongings.root, temporary_beside(belongings.root)
    content = staging
    try:
        ground = Ground(staging)
        unpacker = Unpacker(ground, Budget(sum(path.stat().st_size for path in sources)), progress)
        for path in sources:
            unpacker.unpack(path, inner=inner or stem_of(path) in ("train", "test"))
        wrapping = _wrapping(ground)
        content = ground.folder / wrapping
        _leave_out_manifests(ground, wrapping)
        written = {name.removeprefix(wrapping): check for name, check in ground.written.items()}
        kept = belongings.carry(content, written)
        open_dataset(replace(config, root=str(content)))
        note = {"archives": [path.name for path in sources], "digest": digest, "files": len(written)}
        noted = json.dumps(note | {"written": written}, indent=1)
        ground.write(wrapping + MANIFEST, [noted.encode()], MANIFEST)
        kept += belongings.carry(content, written)
        put_in_place(content, root)
    except DataError as error:
        said = str(error)
        for temporary in (content, staging, staging.resolve()):
            said = said.replace(str(temporary), str(root))
        raise DataError(said) from error
    finally:
        delete(staging)
    if kept:
        log.info("%s: kept what the import did not write: %s", root, _listed(sorted(kept)))
    return len(written)


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more


def _sources(source: Path) -> list[Path]:
    if source.is_file():
        if not is_archive(source):
            raise DataError(
                f"{source}: not an archive by its name; expected one of {', '.join(FORMATS)}, or a folder of them."
            )
        return [source]
    if not source.is_dir():
        raise DataError(f"{source}: no such file or folder; expected an archive, or a folder with archives and CSVs.")
    try:
        found = sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{source}: cannot be read ({error.strerror}).") from error
    wanted = [path for path in found if is_archive(path) or path.suffix.lower() == ".csv"]
    if not any(is_archive(path) for path in wanted):
        raise DataError(f"{source}: no archive in this folder; expected files ending in {', '.join(FORMATS)}.")
    return wanted


def _digest(sources: list[Path]) -> str:
    total = hashlib.blake2b(digest_size=16)
    for path in sources:
        total.update(os.fsencode(path.name))
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    total.update(chunk)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
    return total.hexdigest()


def _wrapping(ground: Ground) -> str:
    """The one folder, with / at its end, that everything lies in and that no layout has at its root; else nothing."""
    tops = {name.partition("/")[0] for name in ground.written}
    if len(tops) != 1 or tops & ground.written.keys() or tops <= {"VOCdevkit", "train", "test", "images"}:
        return ""
    return f"{tops.pop()}/"


def _leave_out_manifests(ground: Ground, wrapping: str) -> None:
    """An archive of an imported folder holds what that import noted; this one makes its own note."""
    for name in [name for name in ground.written if folded(name) == folded(wrapping + MANIFEST)]:
        ground.remove(name)
        log.info("%s of the archive is left out: a new one is written", shown(name))
