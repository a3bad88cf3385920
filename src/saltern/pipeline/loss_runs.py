"""The runs of a loss laboratory: which overrides each has, and how they are trained and scored."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saltern.config import LaboratoryConfig, as_meant, compose_config
from saltern.config.loss_recipe import Budget, of_the_recipe, overrides_of, run_overrides
from saltern.errors import SalternError
from saltern.job import Job
from saltern.pipeline.finishing import tune_decision, write_report
from saltern.pipeline.rehearsal import rehearse
from saltern.pipeline.several import Planned, train_several
from saltern.pipeline.training import make_folds
from saltern.progress import Progress
from saltern.runs.laboratory import LaboratoryDir

log = logging.getLogger(__name__)


class Laboratory:
    """A recipe, a folder, and the runs that come of both."""

    def __init__(self, config: LaboratoryConfig, overrides: Sequence[str], progress: Progress | None = None) -> None:
        """`overrides`: those of the command line, from which the runs take the recipe."""
        self.config = config
        self.folder = LaboratoryDir.of(config.outputs, config.name)
        self.losses = config.tried()
        self._recipe = of_the_recipe(overrides)
        self._progress = progress or Progress()

    def job(self, outputs: Path, name: str, loss: str, budget: Budget, own: Mapping[str, Any]) -> Job:
        """The run `name` below `outputs` with `loss`; `own`: what else it sets, such as its seed."""
        changed = overrides_of(self.config.schedule, self.losses[loss], budget)
        changed += [as_meant(f"outputs={outputs}"), f"name={name}", "overwrite=false"]
        changed += [f"{key}={json.dumps(value)}" for key, value in own.items()]
        overrides = run_overrides(self._recipe, changed)
        return Job(compose_config("run", overrides), self._progress, overrides)

    def recipe(self) -> Job:
        """The recipe as a run that is divided and never trained: what all others have in common stands there.

        Raises:
            ConfigError: it was begun with another recipe, or cannot be trained.
        """
        own = [as_meant(f"outputs={self.folder.path}"), f"name={self.folder.recipe.name}", "overwrite=false"]
        overrides = run_overrides(self._recipe, own)
        job = Job(compose_config("run", overrides), self._progress, overrides)
        if not job.run.folds.exists():
            rehearse(job)
        make_folds(job)
        return job

    def train(self, jobs: Mapping[str, Job], *, finish: bool, page: bool = True) -> list[str]:
        """Train every job that is not done, and score each.

        Args:
            jobs: by the name that is logged.
            finish: predict test images too, and submit.
            page: write the page of each.

        Returns:
            The names of those that failed; what each said was logged.
        """
        open_ = [
            Planned(name, job.overrides, part=not finish) for name, job in jobs.items() if not _is_done(job, finish)
        ]
        failed = [*train_several(open_)]
        for name, job in jobs.items():
            if name not in failed:
                try:
                    _conclude(job, page=page)
                except SalternError as error:
                    log.warning("%s failed: %s", name, error)
                    failed.append(name)
        return failed


def _is_done(job: Job, finish: bool) -> bool:
    """Whether no process is needed: the folds are trained, and with `finish` all that follows is there."""
    if not set(job.config.trainer.folds or ()) <= set(job.run.sealed_folds()):
        return False
    return not finish or job.life.is_finished(with_test=job.has_test)


def _conclude(job: Job, *, page: bool) -> None:
    if job.life.stale("tune"):
        tune_decision(job)
    if page and job.life.faults("report"):
        write_report(job)
