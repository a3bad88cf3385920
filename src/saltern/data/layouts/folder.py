"""Images and masks in any folders, described by patterns; masks as files or as a CSV with run lengths."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from saltern.config import ConfigError, FolderConfig
from saltern.data.source.csvs import read_csv, unique_ids
from saltern.data.source.dataset import PARTS, Dataset, Entry, RleForm, measure
from saltern.data.source.listing import add_missing, existing_root, image_files, match_submission
from saltern.data.source.masks import MaskValues
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError


def read_folder(config: FolderConfig) -> Dataset:
    """The data set at `config.root`.

    Raises:
        DataError: lists every problem that was found.
    """
    root = existing_root(config.root, f"{config.images} and {config.masks or config.rle_csv}")
    problems = Problems(root)
    form = config.rle_form
    rle_form = RleForm(form.order, form.index_base, form.relative)
    images = _images(root, config.images, config, problems)
    entries = _labelled(root, images, config, problems)
    for entry in entries:
        entry.group = _group(entry, root, config.group, problems)
    _check_groups(entries, config.group, problems)
    mask_values = values_of(config)
    train = measure(entries, mask_values, rle_form, problems)
    submission_ids = _submission_ids(root, config, problems)
    tests = {} if config.test_images is None else _images(root, config.test_images, config, problems)
    if submission_ids is not None:
        tests = match_submission(submission_ids, tests, root / str(config.submission_csv), problems)
    test = measure([Entry(name, str(path)) for name, path in tests.items()], mask_values, rle_form, problems)
    problems.raise_any()
    return Dataset(root, train, test, submission_ids, mask_values, rle_form)


def values_of(config: FolderConfig) -> MaskValues:
    """What the config says that mask values mean."""
    if config.mask_foreground is None:
        meaning = "0 and one of 1, 255, 65535"
    else:
        meaning = f"0 and {', '.join(map(str, config.mask_foreground))}"
    return MaskValues(
        foreground=None if config.mask_foreground is None else frozenset(config.mask_foreground),
        void=frozenset(config.mask_void),
        threshold=config.mask_threshold,
        meaning=meaning + "".join(f", {value} for void" for value in config.mask_void),
        remedy="Set dataset.mask_foreground, mask_void or mask_threshold to what the values mean.",
    )


def _images(root: Path, pattern: str, config: FolderConfig, problems: Problems) -> dict[str, Path]:
    """The id → file for the images that match `pattern`, sorted by id."""
    found: dict[str, Path] = {}
    for stem, path in _matches(root, pattern, problems):
        name = stem if config.id == "stem" else path.name
        if name in found:
            problems.add(
                "duplicate ids", f"{path}: has the id {shown(name)}, as {found[name]} has; expected one file an id"
            )
        found.setdefault(name, path)
    if not found:
        problems.add("patterns without a match", f"{root}: no image matches {pattern!r}")
    return dict(sorted(found.items()))


def _matches(root: Path, pattern: str, problems: Problems) -> Iterator[tuple[str, Path]]:
    """(stem, path) of the image files that match; without {stem} in the pattern it is the name without its suffix."""
    expression = stem_pattern(pattern) if "{stem}" in pattern else None
    try:
        paths = list(image_files(root.glob(pattern.replace("{stem}", "*")), problems))
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"dataset: {pattern!r} is no pattern below {root}: {error}.") from error
    for path in paths:
        match = expression.fullmatch(path.relative_to(root).as_posix()) if expression else None
        if match is not None:
            yield match["stem"], path
        elif expression is None:
            yield path.stem, path


def _labelled(root: Path, images: dict[str, Path], config: FolderConfig, problems: Problems) -> list[Entry]:
    if config.rle_csv is not None:
        return _from_csv(root / config.rle_csv, images, config, problems)
    assert config.masks is not None, "checked with the config"
    masks: dict[str, list[Path]] = {}
    for stem, path in _matches(root, config.masks, problems):
        masks.setdefault(stem, []).append(path)
    stems = {path: stem for stem, path in _matches(root, config.images, Problems(root))}  # told of before
    entries = []
    for name, image in images.items():
        found = [path for path in masks.pop(stems[image], []) if path != image]
        if not found:
            wanted = config.masks.replace("{stem}", stems[image])
            problems.add("images without a mask", f"{image}: no mask matches {wanted!r}")
        elif len(found) > 1 and not config.instances:
            shown = ", ".join(path.name for path in found[:3])
            problems.add(
                "images with several masks",
                f"{image}: {len(found)} masks ({shown}); expected one, or dataset.instances=true to unite them",
            )
        else:
            entries.append(Entry(name, str(image), PARTS.join(map(str, found))))
    if images:
        add_missing(problems, "masks without an image", masks, f"{root}: no image matches the mask of {{id}}")
    return entries


def stem_pattern(pattern: str) -> re.Pattern[str]:
    """The expression that finds {stem} in a path below root; where it stands twice, both must be the same."""
    first, *others = pattern.split("{stem}")
    parts = [_glob_to_regex(first), "(?P<stem>[^/]+)"]
    for number, other in enumerate(others):
        parts += ["(?P=stem)"] if number else []
        parts.append(_glob_to_regex(other))
    return re.compile("".join(parts))


def _glob_to_regex(text: str) -> str:
    return re.escape(text).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


def _from_csv(path: Path, images: dict[str, Path], config: FolderConfig, problems: Problems) -> list[Entry]:
    form = config.rle_form
    try:
        table = read_csv(path, [form.id_column, form.mask_column])
    except DataError as error:
        problems.add("unreadable tables", error)
        return []
    if not config.instances:
        table = unique_ids(table, path, problems, form.id_column)
    runs: dict[str, list[str]] = {}
    _refuse_other_suffixes(path, table[form.id_column], form.suffix, problems)
    for name, text in zip(table[form.id_column].str.removesuffix(form.suffix), table[form.mask_column], strict=True):
        parts = runs.setdefault(name, [])
        if text.strip() not in (form.empty, ""):
            parts.append(text.strip())
    if images:
        add_missing(
            problems,
            "ids without an image",
            (name for name in runs if name not in images),
            f"{path}: the id {{id}} has no image; is dataset.id right (stem, or name with the suffix)?",
        )
    add_missing(
        problems,
        "images without a mask",
        (name for name in images if name not in runs),
        f"{path}: no row for the image {{id}}",
    )
    return [Entry(name, str(image), rle=PARTS.join(runs[name])) for name, image in images.items() if name in runs]


def _group(entry: Entry, root: Path, expression: str | None, problems: Problems) -> str:
    if expression is None:
        return ""
    below = Path(entry.image).relative_to(root).as_posix()
    match = re.search(expression, below)
    if match is None:
        say = f"dataset.group={expression!r}: not found in {below!r}; expected to find it in every path"
        problems.add("images without a group", say)
        return ""
    return (match[1] if match.re.groups else match[0]) or ""


def _check_groups(entries: list[Entry], expression: str | None, problems: Problems) -> None:
    """An expression that gives all images one group, or each its own, groups nothing."""
    groups = {entry.group for entry in entries}
    if expression is None or len(entries) < 2 or 1 < len(groups) < len(entries) or "" in groups:
        return
    one = f"puts all {len(entries)} images into the group {entries[0].group!r}"
    found = one if len(groups) == 1 else f"gives each of the {len(entries)} images a group of its own"
    problems.add("groups", f"dataset.group={expression!r}: {found}; expected an expression that tells groups apart")


def _submission_ids(root: Path, config: FolderConfig, problems: Problems) -> list[str] | None:
    if config.submission_csv is None:
        return None
    path, column, suffix = root / config.submission_csv, config.rle_form.id_column, config.rle_form.suffix
    try:
        ids = unique_ids(read_csv(path, [column]), path, problems, column)[column]
    except DataError as error:
        problems.add("unreadable tables", error)
        return None
    _refuse_other_suffixes(path, ids, suffix, problems)
    return ids.str.removesuffix(suffix).tolist()


def _refuse_other_suffixes(path: Path, ids: pd.Series, suffix: str, problems: Problems) -> None:
    for name in ids[~ids.str.endswith(suffix)]:
        problems.add("ids without the suffix", f"{path}: the id {name!r} does not end in {suffix!r} (rle_form.suffix)")
