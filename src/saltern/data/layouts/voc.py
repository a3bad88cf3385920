"""Pascal VOC as a binary task: chosen classes are foreground, all others background, 255 is void."""

from pathlib import Path

from saltern.config import VocConfig
from saltern.config.choices import VOC_CLASSES
from saltern.data.source.dataset import Dataset, Entry, RleForm, measure
from saltern.data.source.limits import MAX_LIST_BYTES, read_bytes
from saltern.data.source.listing import existing_root, images_in, is_there
from saltern.data.source.masks import VOID, MaskValues
from saltern.data.source.names import shown
from saltern.data.source.problems import Problems
from saltern.errors import DataError

_EXPECTED = "VOCdevkit/VOC2012/{JPEGImages, SegmentationClass, ImageSets/Segmentation}"


def read_voc(config: VocConfig) -> Dataset:
    """The data set at `config.root`.

    The images of the training and validation lists are `train`, those of the test list `test`; the extra column `split`
    names the list: train, val or test. A test image has a truth where its mask is there (a validation list given as
    test list, for example). Void pixels count in no coverage.

    Raises:
        DataError: lists every problem that was found.
        ConfigError: an unknown class in `config.foreground`.
    """
    mask_values = values_of(config)
    base = _base(config)
    problems = Problems(base)
    names = {
        "train": _names(base, config.train_list, problems, needed=True),
        "val": _names(base, config.val_list, problems, needed=True),
        # VOC's own archive comes without the test images; a list that is asked for by name must be there
        "test": _names(base, config.test_list, problems, needed=config.test_list != VocConfig.test_list),
    }
    for name in sorted(set(names["train"]) & set(names["val"])):
        problems.add("images in two lists", f"{shown(name)} is in {config.train_list}.txt and in {config.val_list}.txt")
    images = images_in(base / "JPEGImages", problems)
    masks = _masks(base, config.masks, problems)
    tables = []
    for splits in (("train", "val"), ("test",)):
        entries = [
            entry for split in splits for entry in _entries(split, names[split], images, masks, (base, problems))
        ]
        entries.sort(key=lambda entry: entry.id)
        tables.append(measure(entries, mask_values, RleForm(), problems))
    problems.raise_any()
    return Dataset(base, tables[0], tables[1], None, mask_values)


def values_of(config: VocConfig) -> MaskValues:
    """What the palette indices of VOC's masks mean for the chosen foreground."""
    ids = frozenset(config.class_ids())
    return MaskValues(
        foreground=ids,
        background=frozenset(range(len(VOC_CLASSES) + 1)) - ids,
        void=frozenset({VOID}),
        meaning=f"class ids 0 to {len(VOC_CLASSES)} and {VOID} for void, as palette indices or grey values",
        remedy="Save the mask again with VOC's ids.",
    )


def _base(config: VocConfig) -> Path:
    root = existing_root(config.root, _EXPECTED)
    folder = f"VOC{config.year}"
    candidates = [root / "VOCdevkit" / folder, root / folder, root]
    for candidate in candidates:
        if (candidate / "ImageSets" / "Segmentation").is_dir():
            return candidate
    tried = ", ".join(str(candidate / "ImageSets" / "Segmentation") for candidate in candidates)
    raise DataError(
        f"{root}: no image lists; none of {tried} is a folder. Unpack VOCtrainval, or set dataset.root or dataset.year."
    )


def _names(base: Path, name: str, problems: Problems, *, needed: bool) -> list[str]:
    """The ids of an image list; a line `/JPEGImages/ID.jpg /SegmentationClassAug/ID.png`, as for SBD, is ID."""
    path = base / "ImageSets" / "Segmentation" / f"{name}.txt"
    if not is_there(path):
        if needed:
            known = ", ".join(sorted(item.stem for item in path.parent.glob("*.txt"))) or "none"
            problems.add("missing lists", f"{path}: no such list; lists there: {known}")
        return []
    try:
        lines = read_bytes(path, MAX_LIST_BYTES).decode().split("\n")
    except DataError as error:
        problems.add("unreadable lists", error)
        return []
    except UnicodeDecodeError as error:
        problems.add("unreadable lists", f"{path}: not readable as text in UTF-8 ({error}); download it again")
        return []
    names: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        one = Path(words[0]).stem if "/" in words[0] else words[0]
        if one in names:
            problems.add("duplicate ids", f"{path}: line {number} names {shown(one)} again; expected once")
        names[one] = None
    if not names:
        problems.add("empty lists", f"{path}: names no image")
    return list(names)


def _masks(base: Path, folders: list[str], problems: Problems) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        for name, path in images_in(base / folder, problems).items():
            found.setdefault(name, path)
    return found


def _entries(
    split: str, names: list[str], images: dict[str, Path], masks: dict[str, Path], where: tuple[Path, Problems]
) -> list[Entry]:
    base, problems = where
    entries = []
    for name in names:
        if name not in images:
            problems.add(
                "listed images that are missing",
                f"{base / 'JPEGImages'}: no image {shown(name)}, which the {split} list names",
            )
        elif split != "test" and name not in masks:
            problems.add("images without a mask", f"{base}: no mask for {shown(name)}, which the {split} list names")
        else:
            mask = str(masks.get(name, ""))
            entries.append(Entry(name, str(images[name]), mask, extra={"split": split}))
    return entries
