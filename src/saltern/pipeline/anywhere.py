"""A run's networks over any folder of images: masks, a table, and on request probabilities and overlays.

The images are a list on disk, worked through in parts of which one is in memory. A part is sealed when it is done, so
what was interrupted goes on with the next. Parts do not know of each other: processes, or jobs, divide them.
"""

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from saltern.config import ConfigError, PredictConfig
from saltern.data.loading.batches import Share
from saltern.data.loading.cache import ImageSource
from saltern.data.loading.evaluation import seen_sizes
from saltern.data.loading.given import images_of
from saltern.data.loading.preview import outlined
from saltern.data.material import Loading
from saltern.data.source.dataset import THREADS
from saltern.data.source.found import Part, find_images, listed, parts_of, write_listing
from saltern.errors import RunError
from saltern.files import clear_leftovers, sha256, storage_errors, write_json
from saltern.hold import hold
from saltern.inference.decide import Decision, as_probabilities, decide, peak
from saltern.inference.members import Images, Members
from saltern.inference.predictions import Prediction
from saltern.inference.store import ProbWriter, clear_shards, refuse_not_finite
from saltern.job import Job
from saltern.pipeline.networks import decision_of, members_of
from saltern.pipeline.rehearsal import refuse_sizes
from saltern.pipeline.target import Begun, Target

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predicted:
    """What `predict_images` has done."""

    target: Target
    images: int
    with_foreground: int
    """Images whose mask is not empty."""
    emptied: int
    """Images whose whole foreground the decision took away."""
    kept: int
    """Images of parts that were done before and hold."""


def predict_images(job: Job, asked: PredictConfig) -> Predicted:
    """Write what the run says of every image in `asked.images` to `asked.target`; goes on where it was interrupted.

    Pixels are read as those of a data set (`saltern.data.source.images`), brought to network size as the run's
    `dataset` says, and the probabilities exactly back. They are rounded to float16 before the decision, as the run's
    own are, so that the masks of its test images are those of its submission.

    Raises:
        ConfigError: images of a size that the networks cannot take.
        DataError: no images, ids that collide, images that cannot be read.
        RunError: a run that is not finished, or a target that was begun with something else.
    """
    assert asked.images is not None, "checked with the config"
    assert asked.target is not None, "checked with the config"
    task = Task(job, Path(asked.images).absolute(), Target(Path(asked.target).absolute()), asked.probs, asked.overlays)
    group = job.runtime.group
    with group.together(), _held(job, task.target):
        group.on_main(task.begin)
        runtime = job.runtime
        unfinished = group.agree(task.unfinished() if group.is_main else None)
        if unfinished:
            group.on_main(task.target.predictions.unlink, True)
        task.predict([number for number in unfinished if number % runtime.world_size == runtime.rank])
        group.barrier()
        counts: dict[str, int] = {}
        group.on_main(lambda: counts.update(task.finish()))
        return Predicted(task.target, **(counts or {"images": 0, "with_foreground": 0, "emptied": 0}), kept=task.kept)


@contextmanager
def _held(job: Job, target: Target) -> Iterator[None]:
    with ExitStack() as stack:

        def take() -> None:
            stack.enter_context(hold(target.mark, str(target.path)))
            for folder in (target.path, target.parts, target.probs):
                clear_leftovers(folder)

        job.runtime.group.on_main(take)
        yield


@dataclass
class Task:
    """One folder of images, one run, one target; each part can be done by anybody, alone."""

    job: Job
    folder: Path
    target: Target
    probs: bool = False
    overlays: bool = False
    kept: int = 0
    """Images of the parts that `unfinished` found done."""

    @cached_property
    def members(self) -> Members:
        """The run's networks."""
        return members_of(self.job)

    @cached_property
    def decision(self) -> Decision:
        """The run's decision."""
        return decision_of(self.job)

    @cached_property
    def loading(self) -> Loading:
        """How parts become batches: whole, whoever else works on others."""
        return Loading.of(self.job.config.trainer, Share(), self.job.runtime.device)

    def parts(self) -> Iterator[Part]:
        """All parts, as they were cut when the target was begun."""
        return parts_of(self.target.listing, self.folder, self.begun.part_mb)

    @cached_property
    def begun(self) -> Begun:
        """What the target was begun with, once it is."""
        return self.target.refuse_others(self._asked())

    def begin(self) -> None:
        """List the images and freeze what decides about their masks; or make sure that it is all as it was.

        Raises:
            RunError: the target was begun with something else, or for other images.
        """
        target = self.target
        if target.begun.exists():
            self._refuse_other_images()
            return
        target.refuse_strangers()
        asked = self._asked()
        write_listing(target.listing, self.folder, find_images(self.folder), self.job.progress)
        self._refuse_sizes(asked.part_mb)
        write_json(target.begun, asked.model_copy(update={"listing": sha256(target.listing)}).model_dump())

    def unfinished(self) -> list[int]:
        """The numbers of the parts that are still to be done; says why some are done anew."""
        numbers, self.kept = [], 0
        for part in self.parts():
            faults = self.target.faults(part)
            if faults and self.target.seal(part).exists():
                log.warning("%s: %s is done anew, since %s", self.target.path, part.name, "; ".join(faults[:3]))
            numbers += [part.number] if faults else []
            self.kept += 0 if faults else len(part.entries)
        return numbers

    def predict(self, numbers: list[int]) -> None:
        """Do the parts of these `numbers`, one after the other."""
        wanted = set(numbers)
        total = sum(len(part.entries) for part in self.parts() if part.number in wanted)
        with self.job.progress.track(f"predict {self.folder.name}", total):
            for part in self.parts():
                if part.number in wanted:
                    self._predict(part)

    def finish(self) -> dict[str, int]:
        """Write predictions.csv, once every part is done; gives the numbers of images, of masks, of emptied ones.

        Raises:
            RunError: the run was changed while its networks were at work, or a part is not done.
        """
        if self._asked().made_of != self.begun.made_of:
            raise RunError(
                f"{self.job.run.path}: was changed while it predicted; delete {self.target.path}, begin again."
            )
        missing = [part.name for part in self.parts() if not self.target.seal(part).exists()]
        if missing:
            raise RunError(f"{self.target.path}: {len(missing)} parts are not done, such as {missing[0]}.")
        return self.target.merge(self.parts())

    def _asked(self) -> Begun:
        """What a target would be begun with now, but for its list."""
        return Begun(
            run=self.job.run.name,
            made_of=self.job.life.ingredients("predict"),
            decision=self.decision.to_json(),
            listing="",
            probs=self.probs,
            overlays=self.overlays,
            part_mb=self.job.config.inference.shard_mb,
        )

    def _refuse_other_images(self) -> None:
        target = self.target
        begun, known, found = self.begun, list(listed(target.listing)), find_images(self.folder)
        if known == found:
            return
        came, went = sorted(set(found) - set(known)), sorted(set(known) - set(found))
        raise RunError(
            f"{target.path}: was begun with the run {begun.run} for {len(known)} images; in {self.folder} {len(came)} "
            f"came since and {len(went)} went, such as {(came + went)[0]!r}. Choose another target=FOLDER, or put them "
            "back."
        )

    def _refuse_sizes(self, part_mb: int) -> None:
        """Before the first part: a network that takes one size alone is not shown another."""
        blank, config = self.members.blank, self.job.config
        if blank.sizes.only is None:
            return
        for part in parts_of(self.target.listing, self.folder, part_mb):
            seen = seen_sizes(self._source(part), config.dataset, blank.stride)
            try:
                refuse_sizes(blank, seen, config.inference.views)
            except ConfigError as error:
                raise ConfigError(f"{self.folder}, {part.entries[0].id} to {part.entries[-1].id}: {error}") from error

    def _source(self, part: Part) -> ImageSource:
        return images_of(part, self.folder, self.job.config.dataset)

    def _predict(self, part: Part) -> None:
        target, source, state = self.target, self._source(part), part.state()
        images = Images(self.job.material, source, list(range(len(source))), self.loading)
        if self.probs:
            clear_shards(target.probs, f"{part.name}_")
        writer = ProbWriter(target.probs, part.name, self.begun.part_mb) if self.probs else None
        rows: dict[int, list[Any]] = {}
        with writer or nullcontext(), ThreadPoolExecutor(THREADS) as threads:
            waiting: deque[tuple[int, Future[list[Any]]]] = deque()
            for row, said in self.members.image_predictions(images, self.job.progress):
                id = source.samples[row].id
                refuse_not_finite(target.path, id, said.probs, said.presence)
                rounded = Prediction(np.ascontiguousarray(said.probs, np.float16), said.presence)
                if writer is not None:
                    writer.add(id, rounded.probs, rounded.presence)
                waiting.append((row, threads.submit(self._write, source, row, rounded)))
                while len(waiting) > 2 * THREADS:
                    done, future = waiting.popleft()
                    rows[done] = future.result()
            rows |= {done: future.result() for done, future in waiting}
        files = [target.mask(entry.id) for entry in part.entries]
        files += [target.overlay(entry.id) for entry in part.entries] if self.overlays else []
        files += sorted(target.probs.glob(f"{part.name}_*.safetensors")) if self.probs else []
        target.close(part, state, [rows[row] for row in range(len(source))], files)

    def _write(self, source: ImageSource, row: int, said: Prediction) -> list[Any]:
        """Write the files of one image; gives its row of predictions.csv."""
        sample = source.samples[row]
        probs = as_probabilities(said.probs)
        mask = decide(probs, self.decision, said.presence)
        _write_png(self.target.mask(sample.id), mask * np.uint8(255))
        if self.overlays:
            drawn = outlined(source.image_at_native_size(row), mask)
            _write_png(self.target.overlay(sample.id), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        emptied = not mask.any() and bool((probs > np.float32(self.decision.threshold)).any())
        presence = "" if said.presence is None else f"{said.presence:.6f}"
        return [sample.id, *mask.shape, f"{mask.mean():.6f}", f"{peak(probs):.6f}", presence, emptied]


def _write_png(path: Path, pixels: np.ndarray) -> None:
    """Write `pixels` uint8, (H, W) or (H, W, 3) in OpenCV's order. Not synced: the seal of its part knows its bytes."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
