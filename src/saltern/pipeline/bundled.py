"""A bundle: a run's networks and decision apart from the run, for a machine that has neither its data nor a network."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from saltern.config import FolderConfig, RunConfig, thaw
from saltern.data.loading.given import images_of
from saltern.data.source.csvs import read_csv
from saltern.data.source.found import Part, find_images, id_of, parts_of, write_listing
from saltern.errors import DataError, RunError
from saltern.files import read_as
from saltern.inference.decide import Decision, decide, read_decision
from saltern.inference.members import Images, Members
from saltern.inference.store import refuse_not_finite
from saltern.job import Job
from saltern.pipeline.chosen import alone
from saltern.progress import Progress
from saltern.runs.seals import Digests, differing
from saltern.submission.table import SubmissionProof, write_submission

WHEELS = "wheels"
"""The folder of wheels in a bundle; once they are installed it may go."""


class Compared(BaseModel):
    """Masks of fp16 weights beside those of the weights as trained, on the same images."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    images: int
    pixels: int
    """Of all masks."""
    differing: int
    """Pixels that are foreground in one mask of an image and not in the other."""
    most: int
    """The same of the image where most differ."""
    probability: float
    """The largest difference between two probabilities."""


class BundleSeal(BaseModel):
    """The content of `bundle.json`: what the bundle is made of, and what each of its files was when it was made."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    saltern: str
    """Version."""
    run: str
    members: list[str]
    """Weights, paths in the bundle, in the order in which they are averaged."""
    weights: str
    python: str
    """The version and machine that compiled wheels among `wheels/` are for."""
    lacking: dict[str, str]
    """Packages that were asked for and could not be had → why."""
    compared: Compared | None
    files: Digests
    made_of: Digests
    """The run's seals and settings."""


@dataclass(frozen=True)
class Bundle:
    """What lies where in the folder of a bundle."""

    path: Path

    @property
    def seal(self) -> Path:
        """What it is made of; written last."""
        return self.path / "bundle.json"

    @property
    def config(self) -> Path:
        """The frozen config of the run."""
        return self.path / "config.yaml"

    @property
    def decision(self) -> Path:
        """The decision of the run."""
        return self.path / "decision.json"

    @property
    def ids(self) -> Path:
        """The ids of the run's own submission, in its order; an empty list where it has none."""
        return self.path / "ids.json"

    @property
    def wheels(self) -> Path:
        """What pip installs from."""
        return self.path / WHEELS

    @property
    def script(self) -> Path:
        """What is called."""
        return self.path / "predict.py"

    def opened(self) -> BundleSeal:
        """The seal, once every file is known to be what it was; wheels may be gone, since they are installed before.

        Raises:
            RunError: names the files that are gone or were altered.
        """
        mend = "Unpack bundle.zip again, or give `make bundle` again."
        seal = read_as(self.seal, BundleSeal, mend)
        faults = [
            f"{name} was altered since the bundle was made" if there else f"{name} is gone"
            for name, there in differing(seal.files, self.path)
            if there or not name.startswith(f"{WHEELS}/")
        ]
        if faults:
            raise RunError(f"{self.path}: {'; '.join(faults)}. {mend}")
        return seal


@dataclass(frozen=True)
class Apart:
    """Networks and a decision by themselves, and how they read images."""

    job: Job
    members: Members
    decision: Decision

    @classmethod
    def of(cls, bundle: Bundle, seal: BundleSeal, accelerator: str | None, progress: Progress) -> "Apart":
        """Those of a bundle; `accelerator`: auto, cpu or cuda; None: as the run was made."""
        config = thaw(bundle.config)
        job = Job(alone(config, accelerator=accelerator or config.trainer.accelerator), progress)
        weights = [bundle.path / name for name in seal.members]
        return cls(job, Members(job.runtime, job.config, weights), read_decision(bundle.decision))

    def masks(self, images: Images) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """(id, mask (H, W) in {0, 1}) of each of `images`; probabilities are rounded as those of a run's test are.

        Raises:
            RunError: probabilities that are not finite.
        """
        for row, said in self.members.image_predictions(images, self.job.progress):
            id = images.source.samples[row].id
            refuse_not_finite(self.members.paths[0].parent, id, said.probs, said.presence)
            yield id, decide(said.probs.astype(np.float16), self.decision, said.presence)


def predict_bundle(
    folder: Path,
    images: Path,
    target: Path,
    sample: Path | None = None,
    *,
    accelerator: str | None = None,
    progress: Progress | None = None,
) -> SubmissionProof:
    """Write the submission of a folder of images to the CSV `target`, in the form of the bundle's run, and prove it.

    Args:
        folder: the bundle.
        images: a folder of images, nested ones too; an id is a file's name without its suffix, or with it where the
            run's `dataset.id` is `name`.
        target: the CSV.
        sample: a sample_submission.csv, whose ids are written in its order; None: all images, those of the run's own
            submission first, in its order, then the others by id.
        accelerator: auto, cpu or cuda; None: as the run was made.
        progress: where it says how far it is.

    Raises:
        RunError: the bundle was altered.
        DataError: images that cannot be read, two of one id, or none of an id of `sample`.
    """
    bundle = Bundle(folder)
    seal, found = bundle.opened(), find_images(images)
    apart = Apart.of(bundle, seal, accelerator, progress or Progress())
    config, job = apart.job.config, apart.job
    with tempfile.TemporaryDirectory() as place:
        listing = Path(place) / "images.csv"
        write_listing(listing, images, found, job.progress)
        parts = list(parts_of(listing, images, config.inference.shard_mb))
    names = _submitted_names(config, images, [Path(image) for image in found])
    name_of = {id_of(image): name for image, name in zip(found, names, strict=True)}
    sizes = {name_of[entry.id]: (entry.height, entry.width) for part in parts for entry in part.entries}
    asked = _in_order(names, bundle) if sample is None else ids_of(sample, config, set(names))

    def masks() -> Iterator[tuple[str, NDArray[np.uint8]]]:
        wanted = set(asked)
        with job.progress.track(f"predict {images.name}", len(asked)):
            for part in parts:
                rows = [row for row, entry in enumerate(part.entries) if name_of[entry.id] in wanted]
                for id, mask in apart.masks(_images_of(apart, part, images, rows)) if rows else ():
                    yield name_of[id], mask

    return write_submission(target, masks(), asked, sizes, config.submission)


def _images_of(apart: Apart, part: Part, folder: Path, rows: list[int]) -> Images:
    source = images_of(part, folder, apart.job.config.dataset)
    return Images(apart.job.material, source, rows, apart.job.loading)


def _submitted_names(config: RunConfig, folder: Path, images: list[Path]) -> list[str]:
    """The ids of `images`, paths below `folder`, in a submission; no two are the same."""
    whole = isinstance(config.dataset, FolderConfig) and config.dataset.id == "name"
    names = [image.name if whole else image.stem for image in images]
    first: dict[str, Path] = {}
    problems = [
        f"{image}: has the id {name!r}, as {first[name]} has"
        for name, image in zip(names, images, strict=True)
        if first.setdefault(name, image) != image
    ]
    if problems:
        raise DataError.of(str(folder), problems)
    return names


def _in_order(names: list[str], bundle: Bundle) -> list[str]:
    there = set(names)
    known = [name for name in read_as(bundle.ids, list[str]) if name in there]
    return [*known, *sorted(there.difference(known))]


def ids_of(table: Path, config: RunConfig, known: set[str] | None = None) -> list[str]:
    """The ids of a CSV in the form of a run's submission, each once, in its order.

    Args:
        table: the CSV.
        config: the run's.
        known: ids of images that there are; None: not asked.

    Raises:
        DataError: it cannot be read, has no ids, or one that is not `known`.
    """
    form = config.submission
    cells = dict.fromkeys(read_csv(table, [form.id_column])[form.id_column])
    problems = [f"id {cell!r} does not end in {form.suffix!r}" for cell in cells if not cell.endswith(form.suffix)]
    names = [cell.removesuffix(form.suffix) for cell in cells]
    problems += [f"id {name!r}: no image of it" for name in names if known is not None and name not in known]
    if problems or not names:
        raise DataError.of(str(table), problems or ["no ids below its header"])
    return names
