"""What lies in the folders of a data set: image files by id, matched with the ids of tables."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from saltern.data.source.images import read_size
from saltern.data.source.names import shown, unfit_text
from saltern.data.source.problems import Problems
from saltern.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def existing_root(root: str, expected: str) -> Path:
    """`root` as an absolute path.

    Raises:
        DataError: there is no such folder; `expected` says what it should hold.
    """
    path = Path(root).expanduser().absolute()
    if reason := unfit_text(str(path)):
        raise DataError(f"{shown(str(path))}: the path of the data set {reason}; rename the folder.")
    if not path.is_dir():
        raise DataError(
            f"{path}: no such folder; expected a data set with {expected}. "
            "Set dataset.root=PATH (for ensemble and compare root=PATH)."
        )
    return path


def image_files(paths: Iterable[Path], problems: Problems) -> Iterator[Path]:
    """Those of `paths` with the suffix of an image, sorted, hidden ones left out.

    What is no file, a folder or a pipe, is among them, to be refused when it is read. A path that no table could carry
    becomes a problem.
    """
    for path in sorted(paths):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if reason := unfit_text(str(path)):
            problems.add("file names that cannot be carried", f"{shown(str(path))}: the name {reason}; rename it")
        else:
            yield path


def is_there(path: Path) -> bool:
    """Whether anything has this name, be it no file or a link that leads nowhere: what is there must be sound."""
    return os.path.lexists(path)


def images_in(folder: Path, problems: Problems, pattern: str = "*") -> dict[str, Path]:
    """The id → file for the image files in `folder` whose name matches `pattern`, sorted by id; the id is the stem.

    A missing or empty folder and two files with one id become problems.
    """
    if not folder.is_dir():
        problems.add("missing folders", f"{folder}: no such folder; expected one with images")
        return {}
    found: dict[str, Path] = {}
    for path in image_files(folder.glob(pattern), problems):
        if path.stem in found:
            twin = found[path.stem].name
            problems.add(
                "duplicate ids", f"{path}: has the id {shown(path.stem)}, as {twin} has; expected one file an id"
            )
        found.setdefault(path.stem, path)
    if not found:
        problems.add("empty folders", f"{folder}: no image in it; expected files such as ID.png")
    return dict(sorted(found.items()))


def add_missing(problems: Problems, kind: str, ids: Iterable[str], say: str) -> None:
    """One problem of `kind` for each of `ids`, worded by `say`, in which {id} stands for the id."""
    for name in ids:
        problems.add(kind, say.replace("{id}", shown(name)))


def match_submission(ids: list[str], images: dict[str, Path], path: Path, problems: Problems) -> dict[str, Path]:
    """The test images in the order of the sample submission at `path`; ids that only one side has become problems."""
    known = set(ids)
    add_missing(
        problems,
        "submission ids without a test image",
        (name for name in ids if images and name not in images),
        f"{path}: the id {{id}} has no test image; unpack the test images again",
    )
    add_missing(
        problems,
        "test images without a submission row",
        (name for name in images if name not in known),
        f"{path}: no row for the test image {{id}}; are these images of another data set?",
    )
    return {name: images[name] for name in ids if name in images}


def sizes_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Id → (height, width) of the images in `folder`, pixels.

    Raises:
        DataError: lists what is wrong with the folder, or the first image that cannot be read.
    """
    problems = Problems(folder)
    images = images_in(folder, problems)
    problems.raise_any()
    return {name: read_size(path) for name, path in images.items()}
