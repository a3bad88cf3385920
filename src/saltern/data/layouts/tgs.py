"""The TGS layout: train.csv, depths.csv, sample_submission.csv, train/images, train/masks, test/images."""

from pathlib import Path

import pandas as pd

from saltern.config import DatasetConfig
from saltern.data.source.csvs import read_csv, unique_ids
from saltern.data.source.dataset import Dataset, Entry, RleForm, measure
from saltern.data.source.listing import add_missing, existing_root, images_in, is_there, match_submission
from saltern.data.source.masks import MaskValues
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError

_EXPECTED = "train.csv, depths.csv, sample_submission.csv, train/images, train/masks, test/images"


def read_tgs(config: DatasetConfig) -> Dataset:
    """The data set at `config.root`.

    The labelled samples are the images of `train/images`; their masks come from `train/masks` or, where there is no
    PNG, from `train.csv`. `train.csv` may be missing where every image has a PNG mask; `depths.csv`,
    `sample_submission.csv` and `test/images` may be missing. The extra column `depth` is NaN where no depth is known.

    Raises:
        DataError: lists every problem that was found.
    """
    root = existing_root(config.root, _EXPECTED)
    problems = Problems(root)
    depths = _depths(root / "depths.csv", problems)
    mask_values, rle_form = MaskValues(remedy="Unpack train.zip again."), RleForm()
    train = measure(_labelled(root, depths, problems), mask_values, rle_form, problems)
    submission_ids = _submission_ids(root / "sample_submission.csv", problems)
    test_folder = root / "test" / "images"
    images = images_in(test_folder, problems) if is_there(test_folder) or submission_ids else {}
    if submission_ids is not None:
        images = match_submission(submission_ids, images, root / "sample_submission.csv", problems)
    test_entries = [Entry(name, str(path), extra={"depth": depths.get(name)}) for name, path in images.items()]
    test = measure(test_entries, mask_values, rle_form, problems)
    problems.raise_any()
    for table in (train, test):
        table["depth"] = pd.Series(table.get("depth"), index=table.index, dtype="float64")
    return Dataset(root, train, test, submission_ids, mask_values, rle_form)


def _labelled(root: Path, depths: dict[str, float], problems: Problems) -> list[Entry]:
    images = images_in(root / "train" / "images", problems)
    folder = root / "train" / "masks"
    masks = images_in(folder, problems) if is_there(folder) else {}
    runs = _runs(root / "train.csv", problems)
    if not is_there(folder) and runs is None:
        problems.add("missing folders", f"{root}: neither train/masks nor train.csv; expected the masks in one of them")
        return []
    named = runs or {}
    if images:
        add_missing(
            problems,
            "ids without an image",
            (name for name in named if name not in images),
            f"{root / 'train.csv'}: the id {{id}} has no image in train/images; unpack train.zip again",
        )
        add_missing(
            problems,
            "masks without an image",
            (name for name in masks if name not in images),
            f"{folder}: the mask of {{id}} has no image in train/images; unpack train.zip again",
        )
    add_missing(
        problems,
        "images without a mask",
        (name for name in images if name not in masks and name not in named),
        f"{root / 'train' / 'images'}: the image {{id}} has no mask, neither in train/masks nor in train.csv",
    )
    return [
        Entry(name, str(path), str(masks.get(name, "")), named.get(name), extra={"depth": depths.get(name)})
        for name, path in images.items()
        if name in masks or name in named
    ]


def _runs(path: Path, problems: Problems) -> dict[str, str] | None:
    """The id → run lengths; None where the file is missing."""
    return None if not is_there(path) else _columns(path, "rle_mask", problems)


def _columns(path: Path, column: str, problems: Problems) -> dict[str, str]:
    """The id → the text of `column`; what cannot be read becomes a problem."""
    try:
        table = unique_ids(read_csv(path, ["id", column]), path, problems)
    except DataError as error:
        problems.add("unreadable tables", error)
        return {}
    return dict(zip(table["id"], table[column], strict=True))


def _depths(path: Path, problems: Problems) -> dict[str, float]:
    if not is_there(path):
        return {}
    depths = {}
    for name, text in _columns(path, "z", problems).items():
        try:
            depths[name] = float(text)
        except ValueError:
            problems.add("unreadable depths", f"{path}: the depth of {shown(name)} is {shown(text)}; expected a number")
    return depths


def _submission_ids(path: Path, problems: Problems) -> list[str] | None:
    if not is_there(path):
        return None
    return list(_columns(path, "rle_mask", problems))
