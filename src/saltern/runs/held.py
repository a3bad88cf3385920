"""A run folder in one process's hands: whoever writes there holds it, and asks before a stage is closed."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saltern.config import RunConfig
from saltern.files import clear_leftovers
from saltern.hold import Hold, hold
from saltern.runs.folder import FoldName, RunDir
from saltern.runs.seals import Digests, Seals


class HeldRun:
    """A run folder with its seals, and the marks by which one process at a time holds it or one of its folds."""

    def __init__(self, run: RunDir, config: RunConfig) -> None:
        self.run = run
        self.config = config
        self.seals = Seals(run)
        self._holds: list[Hold] = []

    @contextmanager
    def hold(self, *, wait: bool = False) -> Iterator[Hold]:
        """Hold what all folds share: config, split, and every artifact that follows on training.

        Raises:
            RunError: another process holds it.
        """
        with hold(self.run.holds / "run", str(self.run.path), wait=wait) as held:
            run = self.run
            for folder in (run.path, run.oof, run.test, run.seal("tune").parent, run.voc_results.parent):
                clear_leftovers(folder)
            with self._asking(held):
                yield held

    @contextmanager
    def hold_fold(self, number: FoldName) -> Iterator[Hold]:
        """Hold the folder of one fold, so that folds may be trained side by side.

        Raises:
            RunError: another process holds it.
        """
        fold = self.run.fold(number)
        with hold(self.run.holds / fold.path.name, str(fold.path)) as held:
            for folder in (fold.path, self.run.oof):
                clear_leftovers(folder)
            with self._asking(held):
                yield held

    @contextmanager
    def _asking(self, held: Hold) -> Iterator[None]:
        """Within it, whatever is closed or forgotten asks `held` first whether the folder is still ours."""
        self._holds.append(held)
        try:
            yield
        finally:
            self._holds.remove(held)

    def _still_ours(self) -> None:
        for held in self._holds:
            held.check()

    def _close(self, seal: Path, files: Iterable[Path], made_of: Digests, facts: Mapping[str, Any]) -> None:
        self._still_ours()
        self.seals.close(seal, files, made_of, facts)
