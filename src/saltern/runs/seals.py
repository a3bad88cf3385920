"""What a stage wrote, and what it was made of: a stage is done only while both still hold."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from saltern.config import fingerprint
from saltern.errors import RunError
from saltern.files import MEND, read_as, sha256, write_json
from saltern.runs.folder import RunDir

_PREDICTION = ("inference.views", "inference.mean")
"""What decides how networks become probabilities."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "folds": ("dataset", "folds"),
    "fold": ("seed", "dataset", "augment", "model", "schedule", "optim", "trainer", *_PREDICTION),
    "tune": ("inference",),
    "predict": ("dataset", "model", *_PREDICTION),
    "submit": ("submission",),
    "report": (),
    "ensemble": (),
    "seeds": (),
}
"""Stage → the parts of the config that decide what it writes."""

Digests = dict[str, str]
"""Path below the run folder (or `settings`) → SHA-256, hexadecimal."""


class Seal(BaseModel):
    """The content of a seal; stages add facts of their own."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    files: Digests
    made_of: Digests

    @property
    def facts(self) -> dict[str, Any]:
        """What the stage added."""
        return self.model_dump(exclude={"files", "made_of"})


class FoldSeal(Seal):
    """That of a trained fold."""

    monitor: str
    best: float
    best_epoch: int
    phase_best: dict[str, float]
    precision: str
    encoder_weights: dict[str, list[str]] | None
    phase_best_epoch: dict[str, int] = {}
    """Phase → the epoch of its best score, counted over all phases from 1; empty where an earlier version trained."""
    phase_epochs: dict[str, int] = {}
    """Phase → the epochs it took; empty likewise."""
    ended: str = "schedule"
    """What ended the training: schedule, early_stop or max_hours."""


class AllSeal(Seal):
    """That of the network of all images, which no score belongs to."""

    images: int
    epochs: int
    phase_epochs: dict[str, int]
    ended: str
    """What ended the training: schedule (as far as the folds' best epochs say) or max_hours."""
    folds: list[int]
    """Those whose best epochs decided how many it had."""
    precision: str


class EnsembleSeal(Seal):
    """That of the mean of several runs."""

    runs: list[str]
    weights: list[float]
    folds: list[int]
    """Those of its split whose images have a mean."""
    mixed_folds: bool | None = None
    """Whether its members divide the images differently; None where an earlier version averaged them."""
    fold_kinds: dict[str, str] = {}
    """Member → its `folds.kind`, where they are mixed."""
    other_images: int = 0
    """Images whose files are not the same in all members."""
    how: str = "probs"
    """One of ENSEMBLE_MEANS."""
    asked: dict[str, Any] = {}
    """`weights` and `calibrate` as they were given; empty where an earlier version averaged the members."""
    calibration: list[dict[str, float] | None] | None = None
    """For each member `slope` and `offset` of the map of its logits, for images that are new; None: without maps."""
    votes: list[dict[str, Any]] | None = None
    """For each member the decision that votes on images that are new; None where masks do not vote."""
    nested: dict[str, Any] | None = None
    """What weights, maps and decision are worth on images that they were fitted without; see `inference.blending`."""
    nested_reason: str = ""
    """Why that is not known."""
    gain: dict[str, Any] | None = None
    """Nested score less that of the best single member, with its interval."""
    curve: list[dict[str, Any]] = []
    """Members, one more each time → nested score."""
    correlation: list[list[float | None]] = []
    """Of the members' errors, pixel by pixel."""

    @property
    def facts(self) -> dict[str, Any]:
        """What was said when the means were stored; without what an earlier version did not say."""
        return self.model_dump(exclude={"files", "made_of"}, exclude_unset=True)


def differing(files: Digests, folder: Path, digest: Callable[[Path], str] = sha256) -> Iterator[tuple[str, bool]]:
    """(name, whether it is there) of the `files` in `folder` that are not what they were."""
    for name, then in files.items():
        path = folder / name
        there = path.is_file()
        if not there or digest(path) != then:
            yield name, there


def changed_files(files: Digests, folder: Path, digest: Callable[[Path], str] = sha256) -> list[str]:
    """The `files` in `folder` that are gone or changed, a sentence each."""
    return [
        f"{name} was changed by another hand" if there else f"{name} is gone"
        for name, there in differing(files, folder, digest)
    ]


SealKind = TypeVar("SealKind", bound=Seal)


class Seals:
    """Closes stages of one run and tells which of them still hold.

    A seal is written last, in one step: without it a stage has not ended. It names every file of the stage and every
    ingredient with its SHA-256, so that whatever is retrained, edited or exchanged later is found and named.
    """

    def __init__(self, run: RunDir) -> None:
        self.run = run
        self._known: dict[Path, tuple[tuple[int, ...], str]] = {}

    def ingredients(self, stage: str, paths: Iterable[Path]) -> Digests:
        """What `stage`, one of SETTINGS, is made of, as it is now: to be asked before it is read."""
        return {**self._digests(paths), "settings": self._settings(stage)}

    def close(self, seal: Path, files: Iterable[Path], made_of: Digests, facts: Mapping[str, Any]) -> None:
        """Write `seal` over what `files` are now and what the stage was made of, as `ingredients` gave it."""
        content = Seal(files=self._digests(files), made_of=made_of, **facts)
        write_json(seal, content.model_dump())

    def amend(self, seal: Path, path: Path) -> None:
        """Write `seal` again with what `path`, one of its files, is now."""
        content = self.read(seal, Seal)
        write_json(seal, {**content.model_dump(), "files": {**content.files, **self._digests([path])}})

    def read(self, seal: Path, kind: type[SealKind]) -> SealKind:
        """The content of `seal`.

        Raises:
            RunError: it is missing, or no seal of this kind.
        """
        return read_as(seal, kind)

    def faults(self, stage: str, seal: Path, made_of: Iterable[Path]) -> list[str]:
        """Why `stage` does not hold: one sentence for each file that changed; none where it holds.

        Args:
            stage: one of SETTINGS.
            seal: where the stage says that it ended.
            made_of: what it would be made of today.
        """
        if not seal.exists():
            return [f"{self._name(seal)} is not there"]
        try:
            content = self.read(seal, Seal)
        except RunError as error:
            return [str(error).removesuffix(MEND).rstrip(" .")]
        now = self.ingredients(stage, (path for path in made_of if path.exists()))
        then = content.made_of
        return [
            *self.changed_files(content),
            *(f"{_said(name)} changed since" for name in now if name in then and now[name] != then[name]),
            *(f"{_said(name)} came since" for name in now if name not in then),
            *(f"{_said(name)} went since" for name in then if name not in now),
        ]

    def changed_ingredients(self, content: Seal) -> list[str]:
        """The ingredients of a seal that are still there, but changed, a sentence each."""
        paths = {name: self.run.path / name for name in content.made_of if name != "settings"}
        return [
            f"{name} changed since"
            for name, path in paths.items()
            if path.is_file() and self._digest(path) != content.made_of[name]
        ]

    def changed_files(self, content: Seal) -> list[str]:
        """The files of a seal that are gone or changed, a sentence each."""
        return changed_files(content.files, self.run.path, self._digest)

    def _digests(self, paths: Iterable[Path]) -> Digests:
        return {self._name(path): self._digest(path) for path in paths}

    def _name(self, path: Path) -> str:
        return Path(os.path.relpath(path, self.run.path)).as_posix()  # members of an ensemble lie beside it

    def _digest(self, path: Path) -> str:
        """SHA-256 of a file; read again only where its inode, size or times say so."""
        found = path.stat()
        state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(path)
        if known is None or known[0] != state:
            known = self._known[path] = (state, sha256(path))
        return known[1]

    def _settings(self, stage: str) -> str:
        return fingerprint(self.run.config, SETTINGS[stage])


def _said(name: str) -> str:
    return "config.yaml" if name == "settings" else name
