"""The life of a run folder: begun, divided, trained, tuned, predicted, submitted, reported, by one at a time."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saltern.config import ALL_IMAGES
from saltern.errors import RunError
from saltern.files import delete
from saltern.runs.begun import BegunRun
from saltern.runs.folder import FoldName
from saltern.runs.seals import AllSeal, Digests, EnsembleSeal, FoldSeal, Seal

log = logging.getLogger(__name__)

STAGES = ("tune", "predict", "submit", "report")
"""What follows on training, in order; each rests on those before it."""


class Life(BegunRun):
    """How far a run has come, and what of it still holds; every question is answered by the files alone."""

    # -------------------------------------------------------------------------------------- training
    def close_fold(self, number: FoldName, files: Iterable[Path], facts: Mapping[str, Any]) -> None:
        """Fold `number` is trained, and the probabilities of its validation images, if it has any, are stored."""
        self.require_folds()
        made_of = self.seals.ingredients("fold", [self.run.folds])
        self._close(self.run.fold(number).done, files, made_of, facts)

    def fold_is_done(self, number: FoldName) -> bool:
        """Whether fold `number` is trained and stored.

        Raises:
            RunError: it was, but its weights, probabilities or what they were made of have changed.
        """
        fold = self.run.fold(number)
        if not fold.done.exists():
            return False
        faults = self.seals.faults("fold", fold.done, [self.run.folds])
        if faults:
            raise RunError(
                f"{fold.path}: {'; '.join(faults)}. Put the files back; or delete {fold.done.name} there to have the "
                "probabilities stored again by `make train`, or the whole folder to train the fold again."
            )
        return True

    def fold_facts(self, number: int) -> dict[str, Any]:
        """What training noted about fold `number`: monitor, best score and epoch, precision."""
        return self.seals.read(self.run.fold(number).done, FoldSeal).facts

    def all_images(self) -> AllSeal | None:
        """The seal of the network of all images; None where there is none.

        Raises:
            RunError: it has changed since it was trained.
        """
        if self.is_ensemble or not self.fold_is_done(ALL_IMAGES):
            return None
        return self.seals.read(self.run.all_images.done, AllSeal)

    def require_out_of_fold(self) -> None:
        """Raise a RunError where stored out-of-fold probabilities, or what they were made with, have changed."""
        if self.is_ensemble:
            self.ensemble()
        for number in self.run.sealed_folds():
            self.fold_is_done(number)

    def trained_folds(self, known: list[int]) -> list[int]:
        """The folds whose probabilities count; warns where the split, with the folds `known`, has more.

        Raises:
            RunError: no fold is trained, one is half trained, or one has changed since.
        """
        if self.is_ensemble:
            return self.ensemble_folds()
        finished = [number for number in self.run.sealed_folds() if self.fold_is_done(number)]
        begun = [number for number in known if number not in finished and self.run.fold(number).path.exists()]
        if begun:
            raise RunError(f"{self.run.path}: the training of folds {begun} is not finished; run `make train` again.")
        if not finished:
            raise RunError(f"{self.run.path}: no fold is trained yet; run `make train` first.")
        if finished != known:
            log.warning("only folds %s of %s are trained: scores and decision rest on their images", finished, known)
        return finished

    # ------------------------------------------------------------------------------------- ensembles
    def refuse_ensemble(self, stage: str) -> None:
        """Raise a RunError where the run is the mean of others, which has no networks of its own."""
        if self.is_ensemble:
            raise RunError(f"{self.run.path}: is an ensemble of other runs; there is nothing to {stage}.")

    def close_ensemble(self, files: Iterable[Path], made_of: Digests, facts: Mapping[str, Any]) -> None:
        """The means are stored; `made_of` are the members' seals, `facts` name runs, weights and folds."""
        self._close(self.run.ensemble, files, made_of, facts)

    def members_ingredients(self, members: Iterable["Life"]) -> Digests:
        """What the means of `members` are made of, as it is now: the seals of their probabilities."""
        paths = [path for member in members for path in (*member._trained(), member.run.seal("predict"))]
        return self.seals.ingredients("ensemble", [path for path in paths if path.exists()])

    def ensemble(self) -> EnsembleSeal:
        """The ensemble's seal.

        Raises:
            RunError: its means, or a member that is still there, have changed.
        """
        seal = self.seals.read(self.run.ensemble, EnsembleSeal)
        faults = [*self.seals.changed_files(seal), *self.seals.changed_ingredients(seal)]
        if faults:
            raise RunError(f"{self.run.path}: {'; '.join(faults)}; give the `make ensemble` that made it again.")
        return seal

    def is_averaged(self, facts: Mapping[str, Any]) -> bool:
        """Whether means of which just these `facts` (and maybe more) are said are stored and hold."""
        if not self.is_ensemble:
            return False
        try:
            said = self.ensemble().facts
            averaged = {key: said.get(key) for key in facts} == dict(facts)
        except RunError as error:
            log.warning("%s It is averaged anew.", error)
            return False
        return averaged

    def ensemble_folds(self) -> list[int]:
        """The folds of the ensemble's split whose images have a mean; see `ensemble` for errors."""
        return self.ensemble().folds

    # ---------------------------------------------------------------------------------------- stages
    def ingredients(self, stage: str) -> Digests:
        """What the `stage`, one of STAGES, is made of, as it is now: to be asked before any of it is read."""
        return self.seals.ingredients(stage, self._ingredients(stage))

    def close(
        self, stage: str, files: Iterable[Path], made_of: Digests, facts: Mapping[str, Any] | None = None
    ) -> None:
        """The `stage` is done and has written `files` from `made_of`."""
        self._close(self.run.seal(stage), files, made_of, facts or {})

    def amend(self, stage: str, path: Path) -> None:
        """The `stage` holds, and something was added to its file `path`; its other files are what they were."""
        self._still_ours()
        self.seals.amend(self.run.seal(stage), path)

    def faults(self, stage: str) -> list[str]:
        """Why the `stage`, one of STAGES, does not hold; none where it does."""
        return self.seals.faults(stage, self.run.seal(stage), self._ingredients(stage))

    def stale(self, stage: str) -> list[str]:
        """Why the `stage` is to be done again: its faults, but for a decision that was edited, which is kept."""
        return [fault for fault in self.faults(stage) if stage != "tune" or fault != self._edited]

    @property
    def _edited(self) -> str:
        return f"{self.run.decision.name} was changed by another hand"

    def is_finished(self, *, with_test: bool) -> bool:
        """Whether every stage is done and rests on what there is; `with_test`: there are images to submit."""
        return not any(self.stale(stage) for stage in (STAGES if with_test else ("tune", "report")))

    def say_why(self, stage: str) -> None:
        """Warn where `stage` had been done but rests on something that has changed since."""
        faults = self.faults(stage)
        if faults and self.run.seal(stage).exists():
            log.warning("%s: %s is done anew, since %s", self.run.path, stage, "; ".join(faults))

    def require(self, stage: str) -> None:
        """Make sure that `stage`, on which the caller builds, holds; a decision edited by hand is told and kept.

        Raises:
            RunError: it does not hold; says what changed.
        """
        faults = self.faults(stage)
        if stage == "tune" and faults == [self._edited]:
            log.warning("%s: %s since it was tuned; it is used as it is", self.run.path, self._edited)
        elif faults:
            raise RunError(f"{self.run.path}: {'; '.join(faults)}; run `make {stage}` (or `make train`) again.")

    def forget(self, *stages: str) -> None:
        """Delete what the last of these stages wrote, where something under it is about to change."""
        self._still_ours()
        artifacts = {"submit": [self.run.submission, self.run.resemblance], "report": [self.run.report]}
        for stage in stages:
            for path in (self.run.seal(stage), *artifacts.get(stage, [])):
                path.unlink(missing_ok=True)
            if stage == "report":
                delete(self.run.report_tiles)

    # ----------------------------------------------------------------------------------------- seeds
    def seeds_ingredients(self, tables: Iterable[Path]) -> Digests:
        """What a spread is measured on, as it is now: the scores of the runs. To be asked before they are read."""
        return self.seals.ingredients("seeds", tables)

    def close_seeds(self, made_of: Digests) -> None:
        """The spread of the seeds is written, measured on `made_of`."""
        self._close(self.run.seal("seeds"), [self.run.seeds], made_of, {})

    def check_seeds(self) -> None:
        """Make sure that the measured spread is the one that was written; tell where its runs have changed since.

        Runs that are gone are not asked: what was measured stays true.

        Raises:
            RunError: the file was changed by another hand.
        """
        name, seal = self.run.seeds.name, self.run.seal("seeds")
        if not seal.exists():
            log.warning("%s: an earlier version measured it and did not seal it; it is used as it is", self.run.seeds)
            return
        content = self.seals.read(seal, Seal)
        if faults := self.seals.changed_files(content):
            raise RunError(
                f"{self.run.path}: {'; '.join(faults)}; run `make seeds name={self.run.name}` with its seeds again, or "
                f"delete {name} and {seal.relative_to(self.run.path)} to go by the stated default."
            )
        if changed := self.seals.changed_ingredients(content):
            log.warning(
                "%s: was measured on other scores (%s); `make seeds name=%s` with its seeds measures anew",
                self.run.seeds, "; ".join(changed), self.run.name,
            )  # fmt: skip

    def _trained(self) -> list[Path]:
        """The seals of what training has given."""
        if self.is_ensemble:
            return [self.run.ensemble]
        return [self.run.fold(number).done for number in self.run.sealed_folds()]

    def _ingredients(self, stage: str) -> list[Path]:
        run = self.run
        table = {
            "tune": [run.folds, *self._trained()],
            "predict": [*self._trained(), run.all_images.done],
            "submit": [run.decision, run.seal("predict")],
            "report": [run.seal("tune"), run.decision, run.seal("submit")],
        }
        return [path for path in table[stage] if path.exists()]
