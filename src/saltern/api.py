"""A finished run from Python: `saltern.load("outputs/try1").predict(image)`."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, TypeGuard, cast, overload

import numpy as np
from numpy.typing import NDArray

from saltern.config import RunConfig, thaw
from saltern.config.checks import check_run
from saltern.data.loading.batches import Share
from saltern.data.loading.given import GivenImages
from saltern.data.material import Loading
from saltern.data.source.images import read_rgb
from saltern.errors import DataError, RunError, unknown
from saltern.files import read_as
from saltern.inference.decide import Decision, decide
from saltern.inference.members import Images, Members
from saltern.inference.predictions import Prediction
from saltern.inference.store import ProbStore, refuse_not_finite
from saltern.job import Job
from saltern.pipeline.networks import decision_of, members_of
from saltern.progress import Progress
from saltern.runs import RunDir

Image = NDArray[np.uint8] | str | Path
"""Pixels uint8, grey (H, W) or RGB (H, W, 3); or the path of an image file."""
Mask = NDArray[np.uint8]
"""(H, W) of {0, 1}, the size of the image."""
Probs = NDArray[np.float32]
"""(H, W) in [0, 1], the size of the image."""


def load(path: str | Path, *, accelerator: str | None = None, precision: str | None = None) -> "Run":
    """The finished run in the folder `path`, such as `outputs/try1`.

    Args:
        path: the run folder.
        accelerator: auto, cpu or cuda; None: as the run was made.
        precision: auto, fp32, bf16 or fp16; None: as the run was made.

    Raises:
        RunError: no such run, or one that has not been tuned, or has changed since.
        ConfigError: an accelerator or a precision that is not known.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run folder; expected one that `make train` wrote, outputs/NAME.")
    folder = folder.resolve()
    run = RunDir.of(folder.parent, folder.name)
    if not run.config.is_file():
        raise RunError(
            f"{folder}: holds no {run.config.name}, so it is no run; expected a folder such as outputs/NAME."
        )
    config = thaw(run.config)
    trainer = replace(config.trainer, devices=1, nodes=1)
    trainer.accelerator = trainer.accelerator if accelerator is None else accelerator
    trainer.precision = trainer.precision if precision is None else precision
    config = replace(config, outputs=str(folder.parent), name=folder.name, trainer=trainer)
    check_run(config)
    job = Job(config)
    if not run.decision.is_file():
        raise RunError(
            f"{folder}: is not finished, it has no {run.decision.name}; give the `make train` that began it."
        )
    return Run(job, decision_of(job))


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """A finished run. Networks are loaded with the first image and stay on the device as long as this object lives."""

    _job: Job
    decision: Decision
    """How its probabilities become masks."""

    def __repr__(self) -> str:
        return f"<saltern.Run {str(self._job.run.path)!r}>"

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self._job.run.name

    @property
    def config(self) -> RunConfig:
        """Its frozen settings."""
        return self._job.config

    @cached_property
    def scores(self) -> dict[str, Any]:
        """The content of `scores.json`; `scores["estimate"]` is the number to believe.

        Raises:
            RunError: the file is damaged.
        """
        return read_as(self._job.run.scores, dict[str, Any])

    @overload
    def predict(self, image: Image) -> Mask: ...  # type: ignore[overload-overlap]  # a str is an Iterable[str] too
    @overload
    def predict(self, image: Iterable[Image]) -> Iterator[Mask]: ...
    def predict(self, image: Image | Iterable[Image]) -> Mask | Iterator[Mask]:
        """The mask of an image at its own size, as `make predict images=…` writes it, but in {0, 1}.

        Args:
            image: one image, or an iterable of them, which is read a batch at a time while the iterator is asked.

        Raises:
            DataError: no image; says what came.
            RunError: the run's networks have changed, or memory runs out.
        """
        if _is_iterable(image):
            return map(self._mask, self._predictions(image))
        return self._mask(self._one(cast(Image, image)))

    @overload
    def probs(self, image: Image) -> Probs: ...  # type: ignore[overload-overlap]  # as above
    @overload
    def probs(self, image: Iterable[Image]) -> Iterator[Probs]: ...
    def probs(self, image: Image | Iterable[Image]) -> Probs | Iterator[Probs]:
        """The probability of foreground of each pixel of an image, or of each of several; see `predict`.

        They are the mean over folds, views and kept weights.
        """
        if _is_iterable(image):
            return map(_probs, self._predictions(image))
        return _probs(self._one(cast(Image, image)))

    def oof(self, id: str) -> Probs:
        """The stored out-of-fold probabilities of a labelled image: of the networks that did not train on it.

        Raises:
            RunError: no such id among the images of the trained folds.
        """
        store = self._stored
        if id not in store:
            raise RunError(f"{store.folder}: {unknown('id', id, list(store))}")
        return store[id].astype(np.float32)

    @property
    def oof_ids(self) -> list[str]:
        """The ids that `oof` knows."""
        return list(self._stored)

    @cached_property
    def _stored(self) -> ProbStore:
        self._job.life.require_out_of_fold()
        return ProbStore(self._job.run.oof)

    @cached_property
    def _members(self) -> Members:
        return members_of(self._job)

    def _mask(self, said: Prediction) -> Mask:
        return decide(said.probs.astype(np.float16), self.decision, said.presence)

    def _one(self, image: Image) -> Prediction:
        return next(self._predictions([image]))

    def _predictions(self, images: Iterable[Image]) -> Iterator[Prediction]:
        """In the order of `images`; those of a batch are read together."""
        job, images = self._job, iter(images)
        loading = Loading.of(job.config.trainer, Share(), job.runtime.device)
        done = 0
        while block := list(islice(images, loading.eval_batch_size)):
            pixels = [pixels_of(image, f"image {done + place}") for place, image in enumerate(block)]
            source = GivenImages(pixels, job.config.dataset)
            asked = Images(job.material, source, list(range(len(pixels))), loading)
            said = dict(self._members.image_predictions(asked, Progress()))
            for row in range(len(pixels)):
                refuse_not_finite(job.run.path, f"image {done + row}", said[row].probs, said[row].presence)
                yield said[row]
            done += len(pixels)


def pixels_of(image: Image, where: str) -> NDArray[np.uint8]:
    """The pixels of `image`, uint8 (H, W, 3), RGB: read strictly from a path, or checked.

    Args:
        image: uint8, (H, W) or (H, W, 3); or the path of an image file.
        where: the words for it in an error.

    Raises:
        DataError: an array of another type or shape, a folder, a file that is no sound image.
    """
    if isinstance(image, str | Path):
        path = Path(image).expanduser()
        if path.is_dir():
            raise DataError(
                f"{path}: a folder; expected an image, or an iterable such as sorted(Path({str(path)!r}).iterdir())."
            )
        return read_rgb(path)
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        raise DataError(f"{where}: is a {kind}; expected a NumPy array, such as numpy.asarray(image), or a path.")
    if image.dtype != np.uint8:
        raise DataError(f"{where}: an array of {image.dtype}; expected uint8, from 0 to 255. {_to_uint8(image)}")
    if image.size == 0 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise DataError(
            f"{where}: an array of shape {image.shape}; expected (H, W) or (H, W, 3). {_to_shape(image)}".rstrip()
        )
    pixels = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image
    return np.ascontiguousarray(pixels)


def _to_uint8(image: NDArray[Any]) -> str:
    """What makes uint8 of an array of another type, as far as its values say."""
    if image.dtype == np.bool_ or not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image) or not image.size:
        return "Pixels are brightness or colour, as an image file holds them."
    if not np.isfinite(image).all():
        return "It holds NaN or infinity, which are no pixels."
    low, high = image.min(), image.max()
    if np.issubdtype(image.dtype, np.floating) and low >= 0 and high <= 1:
        return "Where 1.0 is white: (image * 255).round().astype('uint8')."
    if low >= 0 and high <= 255:
        return "Its values fit: image.round().astype('uint8')."
    if low >= 0 and image.dtype == np.uint16:
        return "16 bits are read from files as (image >> 8).astype('uint8')."
    return f"Its values go from {low} to {high}, as after a normalisation, which the networks do by themselves."


def _to_shape(image: NDArray[Any]) -> str:
    if image.ndim == 3 and image.shape[0] in (1, 3) and min(image.shape[1:]) > 3:
        return "With the channels last it is image.transpose(1, 2, 0)."
    if image.ndim == 3 and image.shape[2] == 1:
        return "One channel is image[..., 0]."
    if image.ndim == 3 and image.shape[2] == 4:
        return "Without alpha it is image[..., :3]."
    return "Several images are an iterable of arrays, such as list(images)." if image.ndim == 4 else ""


def _is_iterable(image: Image | Iterable[Image]) -> TypeGuard[Iterable[Image]]:
    """Whether these are several images. What has pixels of its own, such as a tensor or Pillow's image, is one."""
    alone = isinstance(image, str | bytes | Path | Mapping) or hasattr(image, "__array__")
    return not alone and isinstance(image, Iterable)


def _probs(said: Prediction) -> Probs:
    return said.probs.astype(np.float32)
