"""`make seeds`: a run's recipe trained again with other seeds on the same folds, and how far its score moves."""

import logging
import os

from saltern.config import SeedsConfig, as_meant, compose_config, contradictions, later_wins, recorded_overrides
from saltern.data.folds.assign import load_folds
from saltern.errors import ConfigError, RunError
from saltern.files import write_json
from saltern.inference.spread import Spread, measure_spread
from saltern.job import Job
from saltern.pipeline.contestants import common_groups, read_nested
from saltern.pipeline.several import Planned, train_several
from saltern.pipeline.training import make_folds
from saltern.progress import Progress

log = logging.getLogger(__name__)


def train_seeds(config: SeedsConfig, progress: Progress | None = None) -> Spread:
    """Train `NAME_seedS` for every seed S, in the folds that the run has trained; write and seal its `seeds.json`.

    Each is an ordinary run: an interrupted one goes on, a finished one is left as it is. The run itself counts as one
    more seed. One that failed is named and left out.

    Raises:
        ConfigError: the run's own seed among `seeds`, or a launcher of several processes around this one.
        RunError: a run that is not finished or an ensemble, other settings or folds in a seed's run, or none trained.
    """
    if "RANK" in os.environ or "SLURM_PROCID" in os.environ:
        raise ConfigError(
            "make seeds: starts each run by itself; start it without torchrun or srun (trainer.devices=N)."
        )
    base = Job.reopen(config.outputs, config.name, config.root)
    base.life.refuse_ensemble("seeds")
    read_nested(base)  # before anything is trained
    if base.config.seed in config.seeds:
        raise ConfigError(
            f"seeds={config.seeds}: {base.config.seed} is the seed of {config.name} itself, which counts."
        )
    jobs = {f"{config.name}_seed{seed}": _begun(base, config, seed, progress) for seed in config.seeds}
    open_ = [
        Planned(name, job.overrides) for name, job in jobs.items() if not job.life.is_finished(with_test=job.has_test)
    ]
    failed = train_several(open_)
    if len(failed) == len(jobs):
        raise RunError(f"{', '.join(failed)}: failed, so no spread can be measured; what each said stands above.")
    measured = {config.name: base, **{name: job for name, job in jobs.items() if name not in failed}}
    made_of = base.life.seeds_ingredients(
        path
        for job in measured.values()
        if (path := job.run.oof_nested).exists()  # not where an earlier version tuned
    )
    tables = {name: read_nested(job).table for name, job in measured.items()}
    seeds = [base.config.seed, *(seed for seed, name in zip(config.seeds, jobs, strict=True) if name not in failed)]
    spread = measure_spread(tables, seeds, common_groups({config.name: base.run})[0])
    with base.life.hold():
        write_json(base.run.seeds, spread.model_dump())
        base.life.close_seeds(made_of)
    if failed:
        log.warning("%s: failed and left out; the same command goes on with them", ", ".join(failed))
    return spread


def _begun(base: Job, config: SeedsConfig, seed: int, progress: Progress | None) -> Job:
    """The run of one seed, begun and divided as `base` is."""
    name = f"{base.run.name}_seed{seed}"
    folds = ",".join(str(number) for number in base.trained_folds)
    own = [f"name={name}", f"seed={seed}", f"outputs={config.outputs}", f"trainer.folds=[{folds}]", "overwrite=false"]
    if config.root is not None:
        own.append(f"dataset.root={config.root}")
    overrides = later_wins(recorded_overrides(base.run.environment), [as_meant(text) for text in own])
    job = Job(compose_config("run", overrides), progress or Progress(), overrides)
    changed = {key: value for key, value in contradictions(base.config, job.config).items() if key != "seed"}
    if changed:
        lines = "; ".join(f"{key} was {old!r} and is {new!r}" for key, (old, new) in changed.items())
        raise RunError(
            f"{base.run.path}: its overrides no longer give its config ({lines}); put configs/ back as it was."
        )
    make_folds(job)
    if not load_folds(job.run.folds, job.material.dataset.train).equals(base.folds):
        raise RunError(
            f"{job.run.folds}: other folds than {base.run.folds}, so scores could not be paired. Has the data set "
            f"changed? Delete {job.run.path} once it is as it was."
        )
    return job
