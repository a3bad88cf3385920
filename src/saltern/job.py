"""One run that is worked on: its config, and the rooms that stages ask for what they need, each opened at most once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from saltern import runtime
from saltern.config import RunConfig, thaw
from saltern.data.folds.assign import fold_numbers, load_folds
from saltern.data.loading.batches import Share
from saltern.data.material import Loading, Material
from saltern.hold import Hold
from saltern.progress import Progress
from saltern.runs import RunDir
from saltern.runs.folder import FoldName
from saltern.runs.life import Life


@dataclass
class Job:
    """Config, folder, images and hardware of one run."""

    config: RunConfig
    progress: Progress = field(default_factory=Progress)
    overrides: list[str] = field(default_factory=list)
    """The command line's, recorded when the run begins."""

    @classmethod
    def reopen(cls, outputs: str, name: str, root: str | None = None) -> "Job":
        """The run `name` below the folder `outputs`, with the config that is frozen there; `root`: its data set now.

        Raises:
            RunError: there is no such run.
        """
        config = thaw(RunDir.of(outputs, name).config)
        dataset = config.dataset if root is None else replace(config.dataset, root=root)
        return cls(replace(config, outputs=outputs, name=name, dataset=dataset))

    @cached_property
    def run(self) -> RunDir:
        """What lies where in the run folder."""
        return RunDir.of(self.config.outputs, self.config.name)

    @cached_property
    def life(self) -> Life:
        """How far the run has come."""
        return Life(self.run, self.config)

    @cached_property
    def material(self) -> Material:
        """The images."""
        return Material(self.config.dataset, self.config.augment, processes=self.config.trainer.devices)

    @cached_property
    def runtime(self) -> runtime.Runtime:
        """Device, precision, processes."""
        return runtime.start(self.config.trainer)

    @cached_property
    def loading(self) -> Loading:
        """How this process reads its share of the images."""
        share = Share(self.runtime.rank, self.runtime.world_size)
        return Loading.of(self.config.trainer, share, self.runtime.device)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """The run's split: id, fold.

        Raises:
            RunError: it was changed since the run was divided.
        """
        self.life.require_folds()
        return load_folds(self.run.folds, self.material.dataset.train)

    @cached_property
    def trained_folds(self) -> list[int]:
        """The folds whose probabilities count, as they are when first asked for; see `Life.trained_folds`."""
        return self.life.trained_folds(fold_numbers(self.folds))

    @property
    def fold_of(self) -> dict[str, int]:
        """Id → fold, of the images of the trained folds; made anew each time."""
        pairs = zip(self.folds["id"], self.folds["fold"], strict=True)
        return {name: int(fold) for name, fold in pairs if fold in self.trained_folds}

    @property
    def has_test(self) -> bool:
        """Whether there are images to submit."""
        return len(self.material.dataset.test) > 0

    @contextmanager
    def held(self, fold: FoldName | None = None, *, wait: bool = False) -> Iterator[list[Hold]]:
        """Hold the run, or one of its folds, by the main process; gives its holds: one there, none elsewhere."""
        holds: list[Hold] = []
        with ExitStack() as stack:
            room = self.life.hold(wait=wait) if fold is None else self.life.hold_fold(fold)
            self.runtime.group.on_main(lambda: holds.append(stack.enter_context(room)))
            yield holds
