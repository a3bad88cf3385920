"""Any folder of images as a list on disk: found once, measured once, and read back a part at a time.

The list is a CSV (image, height, width) sorted by id: the path below the folder without its suffix. Whoever works
through it holds one part of it in memory, however long it is.
"""

import csv
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from saltern.data.source.dataset import Dataset, Entry, RleForm, measure, table_of
from saltern.data.source.listing import image_files
from saltern.data.source.masks import MaskValues
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError, RunError
from saltern.files import atomic
from saltern.progress import Progress

log = logging.getLogger(__name__)

COLUMNS = ("image", "height", "width")
MOST_IMAGES = 512
"""Of a part."""
_BLOCK = 1024
"""Images measured at a time."""


def find_images(folder: Path) -> list[str]:
    """The image files in `folder` and the folders in it, as paths below it, sorted by id.

    Hidden files and folders are left out, and so is what has no suffix of an image, whose number is logged.

    Raises:
        DataError: no such folder, no image in it, links that lead in a circle, names that no table could carry, two
            images with one id, or an id whose mask would lie where the folder of another mask does.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one with images. Set images=FOLDER.")
    problems, others, found = Problems(folder), 0, list[str]()
    for place, names in _files(folder, problems):
        images = list(image_files((place / name for name in names), problems))
        others += sum(not name.startswith(".") for name in names) - len(images)
        found += [path.relative_to(folder).as_posix() for path in images]
    found.sort(key=lambda path: (id_of(path), path))
    _refuse_collisions(found, folder, problems)
    if not found and not problems:
        problems.add("empty folders", f"{folder}: no image in it or below; expected files such as ID.png")
    problems.raise_any()
    if others:
        log.info("%s: %d files without the suffix of an image are left out", folder, others)
    return found


def id_of(path: str) -> str:
    """The id of the image at `path` below its folder: the path without its suffix."""
    return path[: path.rindex(".")]


def _files(folder: Path, problems: Problems) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the names of its files; folders behind links too, unless they lead in a circle."""

    def refuse(error: OSError) -> None:
        problems.add("folders that cannot be read", f"{error.filename}: cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [name for name in folders if (here / name).is_symlink()]:
            leads_to = (here / name).resolve()
            if leads_to in (here.resolve(), *here.resolve().parents):
                problems.add("links in a circle", f"{here / name}: a link to {leads_to}, in which it lies; remove it")
                folders.remove(name)
        yield here, names


def _refuse_collisions(paths: Sequence[str], folder: Path, problems: Problems) -> None:
    """Two images with one id, and an id `a.png` beside the folder `a.png/`, cannot both have a mask."""
    before = ""
    for path in paths:
        if before and id_of(path) == id_of(before):
            say = "expected one file an id, since masks are named after the path without its suffix. Rename one"
            problems.add("duplicate ids", f"{folder / path}: has the id {shown(id_of(path))}, as {before} has; {say}")
        before = path
    folders = {str(parent) for path in paths for parent in Path(path).parents}
    for path in paths:
        if f"{id_of(path)}.png" in folders:
            say = f"its mask would be {id_of(path)}.png, which is the name of a folder with images; rename one"
            problems.add("duplicate ids", f"{folder / path}: {say}")


def write_listing(path: Path, folder: Path, images: Sequence[str], progress: Progress) -> None:
    """Measure `images`, paths below `folder` as `find_images` gives them, and write the list at `path`.

    Every header is read, and all checksums of a PNG are verified, before an hour is spent on the first of them.

    Raises:
        DataError: lists every file that cannot be read, and every id that cannot be carried.
        StorageError: the disk is full, and the like.
    """
    problems = Problems(folder)
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(COLUMNS)
        with progress.track("look at the images", len(images)):
            for start in range(0, len(images), _BLOCK):
                block = images[start : start + _BLOCK]
                entries = [Entry(id_of(image), str(folder / image)) for image in block]
                table = measure(entries, MaskValues(), RleForm(), problems)
                sizes = dict(zip(table["id"], zip(table["height"], table["width"], strict=True), strict=True))
                rows.writerows((image, *sizes[id_of(image)]) for image in block if id_of(image) in sizes)
                progress.advance(len(block))
        problems.raise_any()


@dataclass(frozen=True)
class Part:
    """Some images of a list that are worked on together."""

    number: int
    entries: list[Entry]
    """With id, path and size."""

    @property
    def name(self) -> str:
        """What the files of the part are called."""
        return f"part_{self.number:05d}"

    def dataset(self, folder: Path) -> Dataset:
        """Its images as the unlabelled ones of a data set."""
        return Dataset(folder, table_of([]), table_of(self.entries))

    def state(self) -> str:
        """SHA-256, hexadecimal, of the paths, sizes and times of its files: what tells that one was exchanged."""
        digest = hashlib.sha256()
        for entry in self.entries:
            try:
                found = os.stat(entry.image)
            except OSError as error:
                raise DataError(f"{entry.image}: cannot be read ({error.strerror}).") from error
            digest.update(f"{entry.id}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        return digest.hexdigest()


def listed(path: Path) -> Iterator[str]:
    """The images of the list at `path`, as paths below their folder.

    Raises:
        RunError: the list is no such file.
    """
    return (entry.image for entry in _entries(path, Path()))


def parts_of(path: Path, folder: Path, megabytes: int) -> Iterator[Part]:
    """The list at `path` of images in `folder`, cut after at most 512 images, or `megabytes` of them decoded.

    Raises:
        RunError: the list is no such file.
    """
    number, part, size = 0, list[Entry](), 0
    for entry in _entries(path, folder):
        part.append(entry)
        size += entry.height * entry.width * 3
        if size >= megabytes << 20 or len(part) >= MOST_IMAGES:
            yield Part(number, part)
            number, part, size = number + 1, [], 0
    if part:
        yield Part(number, part)


def _entries(path: Path, folder: Path) -> Iterator[Entry]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            if tuple(next(rows, ())) != COLUMNS:
                raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
            for image, height, width in rows:
                yield Entry(id_of(image), str(folder / image), height=int(height), width=int(width))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(
            f"{path}: not readable as a list of images ({error}). Begin again with another target."
        ) from error
