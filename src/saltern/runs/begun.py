"""How a run folder begins: its config is frozen, its images are divided."""

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from saltern.config import RunConfig, contradictions, freeze, recorded_overrides, refuse_contradictions, states, thaw
from saltern.errors import RunError
from saltern.files import write_json, write_text
from saltern.runs.held import HeldRun

log = logging.getLogger(__name__)


class BegunRun(HeldRun):
    """What everything in a run rests on: its config, and its split."""

    @property
    def is_ensemble(self) -> bool:
        """Whether the run is the mean of others."""
        return self.run.ensemble.exists()

    def begin(self, environment: Mapping[str, Any]) -> None:
        """Freeze the config in a new run folder, or make sure that the folder was begun with the same one.

        As long as the run has no folds nothing rests on its config, and another one takes its place. To be called
        while the run is held.

        Raises:
            ConfigError: the folder holds a run with other settings.
            RunError: the folder holds something that is no run, or a process still works on a run to be overwritten.
        """
        run = self.run
        if run.config.exists() and self.config.overwrite and not self._goes_on():
            log.warning("%s: overwrite=true, the run is deleted and begun anew", run.path)
            with ExitStack() as folds:
                for fold in run.begun_folds():
                    folds.enter_context(self.hold_fold(fold.number))
                run.clear()
        if run.config.exists() and run.folds.exists():
            refuse_contradictions(run.config, contradictions(thaw(run.config), self.config))
            self._renew_environment(environment)
            return
        if not run.is_fresh():
            raise RunError(self._no_run())
        write_json(run.environment, dict(environment))
        write_text(run.config, freeze(self.config))

    def continued(self) -> RunConfig | None:
        """The frozen config of the run that `begin` would go on with; None where it would begin one."""
        run = self.run
        if not (run.config.exists() and run.folds.exists()) or (self.config.overwrite and not self._goes_on()):
            return None
        return thaw(run.config)

    def unstated(self, key: str) -> bool:
        """Whether a run was begun here whose frozen config, of an earlier version, lacks the dotted `key`."""
        if not (self.run.config.exists() and self.run.folds.exists()):
            return False
        try:
            return not states(self.run.config, key)
        except RunError:
            return False  # `begin` says what is wrong, or replaces it

    def _renew_environment(self, environment: Mapping[str, Any]) -> None:
        """Write `environment.json` again where it is gone or damaged: this call's overrides mean the same config."""
        try:
            recorded_overrides(self.run.environment)
        except RunError as error:
            log.warning("%s It is written anew, as of today.", error)
            write_json(self.run.environment, dict(environment))

    def _no_run(self) -> str:
        """What is wrong with a folder that holds files, but not both of what a run begins with."""
        run = self.run
        gone = [path.name for path in (run.config, run.folds) if not path.exists()]
        if len(gone) == 2:
            return f"{run.path}: holds files but no config.yaml and folds.csv, so it is no run. Choose another name=…"
        return (
            f"{run.path}: {gone[0]} is gone from this run, and everything in it rests on it. Put it back as it was: "
            "`make folds` with this run's settings and another name=… writes the same, but for the name."
        )

    def _goes_on(self) -> bool:
        """Whether `overwrite=true` is that of an interrupted run given again, which goes on like any other."""
        run = self.run
        try:
            begun = thaw(run.config)
        except RunError:  # of another version
            return False
        same = begun.overwrite and not run.report.exists() and not contradictions(begun, self.config)
        if same:
            log.info("%s: was begun with overwrite=true and goes on; delete the folder to begin anew", run.path)
        return same

    def is_divided(self) -> bool:
        """Whether the split is made; one that nothing rests on yet and that was not closed is not."""
        closed = self.run.seal("folds").exists() or bool(self.run.begun_folds())
        return self.run.folds.exists() and closed

    def close_folds(self) -> None:
        """The split is made: from here on it is what the run rests on."""
        files = [path for path in (self.run.folds, self.run.groups) if path.exists()]
        self._close(self.run.seal("folds"), files, self.seals.ingredients("folds", []), {})

    def require_folds(self) -> None:
        """Raise a RunError where `folds.csv` is not what the run was divided into."""
        if not self.is_ensemble and not self.run.seal("folds").exists() and self.run.sealed_folds():
            raise RunError(f"{self.run.path}: was begun by an earlier version of Saltern, whose runs end with it.")
        faults = self.seals.faults("folds", self.run.seal("folds"), [])
        if faults and self.is_ensemble:
            raise RunError(f"{self.run.path}: {'; '.join(faults)}; give the `make ensemble` that made it again.")
        if faults:
            raise RunError(
                f"{self.run.path}: {'; '.join(faults)}, but everything in this run rests on its split. Put it back as "
                "it was (`make folds` with this run's settings and another name=… writes the same), or begin a run of "
                "its own, with folds=file folds.file=CSV for a split of your own."
            )
