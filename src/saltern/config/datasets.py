"""What a data set is, layout by layout, and the form of CSVs with run lengths. The rest of a run is in `schema`."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from saltern.config.choices import VOC_CLASSES
from saltern.errors import ConfigError, unknown


@dataclass(kw_only=True)
class DatasetConfig:
    """What every layout shares: where the data lies, and how an image is brought to network size."""

    layout: str = MISSING
    """One of LAYOUTS; fixed by the file under `configs/dataset`."""
    root: str = MISSING
    """Folder of the data set; relative to the folder `make` is called in."""
    resize: list[int] | None = None
    """[height, width] of the network input; probabilities are resized back. null: no resizing, only padding."""
    long_side: int | None = None
    """Images whose longer side exceeds this many pixels are shrunk to it; null: never."""
    pad: str = "reflect"
    """How images are padded to a multiple of the network's stride: reflect, edge or constant (0)."""
    train_crop: list[int] | None = None
    """[height, width] of random crops for training, needed where image sizes differ; null: whole images."""
    window: int | None = None
    """Images with a side above this many pixels are predicted in overlapping windows; null: always whole."""
    overlap: float = 0.25
    """The least share of a window that its neighbour covers too."""
    cache: str = "auto"
    """Where decoded images are kept: `memory`, a memory-mapped `file`, `none` (decode each time), or `auto`: in memory
    while all of a table fit into cache_mb, else in a file. `device`: as auto, and for training on the device too, where
    batches are then cut and augmented; for images of one size and the transforms of DEVICE_TRANSFORMS."""
    cache_mb: int = 4096
    """Megabytes of decoded images that `auto` keeps in memory."""
    cache_dir: str | None = None
    """Where cache files go; null: $XDG_CACHE_HOME/saltern, that is ~/.cache/saltern."""


@dataclass(kw_only=True)
class SampleConfig(DatasetConfig):
    """The drawn sample data set: synthetic seismic sections in TGS layout."""

    layout: str = "sample"
    train: int = 400
    """Number of labelled images."""
    test: int = 100
    """Number of test images; their truth is drawn beside them."""
    side: int = 64
    """Height and width of every image, pixels."""
    seed: int = 0
    """Another seed draws another data set."""


@dataclass(kw_only=True)
class TgsConfig(DatasetConfig):
    """The TGS salt layout: train.csv, depths.csv, sample_submission.csv, train/, test/."""

    layout: str = "tgs"


@dataclass(kw_only=True)
class VocConfig(DatasetConfig):
    """Pascal VOC 2012 as a binary task."""

    layout: str = "voc"
    foreground: list[Any] = MISSING
    """Class names or ids that make the foreground, such as [car] or [person, bicycle] or [7]."""
    year: int = 2012
    """The images lie in root/VOCdevkit/VOC<year>, root/VOC<year>, or root itself."""
    masks: list[str] = field(default_factory=lambda: ["SegmentationClass"])
    """Folders with the masks; the first that has an image's mask counts. With SBD: [SegmentationClassAug]."""
    train_list: str = "train"
    """The list ImageSets/Segmentation/<name>.txt of training images; with SBD, for example, train_aug."""
    val_list: str = "val"
    """The list of validation images: what `folds=predefined` validates on."""
    test_list: str = "test"
    """The list of images to predict; there may be no such file."""

    def class_ids(self) -> list[int]:
        """The ids 1 to 20 of `foreground`, in its order.

        Raises:
            ConfigError: an empty list, or a class that VOC does not have.
        """
        key = "dataset.foreground"
        if not self.foreground:
            raise ConfigError(f"{key}=[]: expected at least one of {', '.join(VOC_CLASSES)}.")
        ids = []
        for item in self.foreground:
            if item in VOC_CLASSES:
                ids.append(VOC_CLASSES.index(item) + 1)
            elif isinstance(item, int) and not isinstance(item, bool) and 1 <= item <= len(VOC_CLASSES):
                ids.append(item)
            else:
                raise ConfigError(f"{key}: {unknown('class', str(item), VOC_CLASSES)} Ids are 1 to {len(VOC_CLASSES)}.")
        return ids


@dataclass(kw_only=True)
class SubmissionConfig:
    """The form of the CSV; the defaults are those of the TGS competition."""

    id_column: str = "id"
    """Title of the column with the images' ids."""
    mask_column: str = "rle_mask"
    """Title of the column with the run lengths."""
    order: str = "column"
    """Pixels are counted down the columns (`column`) or along the rows (`row`)."""
    index_base: int = 1
    """The number of the first pixel, 0 or 1."""
    empty: str = ""
    """What stands for an empty mask."""
    relative: bool = False
    """Starts counted from the end of the previous run (as SIIM did) instead of from the image's start."""
    rows: str = "image"
    """A row an `image`, or a row an `instance`: each connected component has its own, one after another; an empty mask
    has one row with `empty`."""
    connectivity: int = 8
    """Pixels that touch at a corner belong to one component (8) or to two (4); for `rows: instance`."""
    suffix: str = ""
    """What stands in the file after each id, such as .jpg, or _1 where a row is named <id>_<class>."""
    constants: dict[str, str] = field(default_factory=dict)
    """Further columns and what stands in each of their cells: text in which {height} and {width} are the image's, in
    pixels."""
    columns: list[str] = field(default_factory=list)
    """All columns in the file's order; empty: id, mask, then the constants as they are named."""
    competition: str | None = None
    """The name in the competition's address, for `make submit message=…`; null: nowhere to hand it in."""


@dataclass(kw_only=True)
class FolderConfig(DatasetConfig):
    """Images and masks wherever they lie: described by patterns, relative to `root`, with / between folders.

    In patterns, * stands for any part of a name, ** for any folders, {stem} for the part that image and mask
    share; where an image's pattern has no {stem}, it is the file name without the suffix.
    """

    layout: str = "folder"
    images: str = "images/*"
    """Pattern of the labelled images."""
    masks: str | None = "masks/{stem}.*"
    """Pattern of their masks, such as train_masks/{stem}_mask.gif; null: the masks come from rle_csv."""
    test_images: str | None = None
    """Pattern of the images to predict; null: none."""
    id: str = "stem"
    """What an image's id is: its `stem`, or its `name`, the whole file name."""
    group: str | None = None
    """Regular expression on the image's path below root; its first (…), else all it matches, is the group."""
    instances: bool = False
    """Several masks of one image, in files or in rows of rle_csv, are parts to be united; false: an error."""
    mask_foreground: list[int] | None = None
    """Mask values of foreground; null: 1, 255 or 65535, one of them in a mask."""
    mask_void: list[int] = field(default_factory=list)
    """Mask values that count neither as foreground nor as background."""
    mask_threshold: int | None = None
    """Mask values above it are foreground, all others background; for masks with blurred edges."""
    rle_csv: str | None = None
    """A CSV with run lengths in place of mask files, below root."""
    rle_form: SubmissionConfig = field(default_factory=SubmissionConfig)
    """How that CSV is written: its columns, order, index base, empty token, relative starts."""
    submission_csv: str | None = None
    """The sample submission below root, whose ids and order the submission takes; its id column and suffix are
    rle_form's."""
