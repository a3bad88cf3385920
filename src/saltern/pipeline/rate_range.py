"""`make lr`: the learning rate that a range test on the first fold speaks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from saltern import runtime
from saltern.config import ALL_IMAGES, AUTO, ConfigError, LrConfig, ScheduleConfig
from saltern.data.folds.assign import select_fold
from saltern.data.folds.division import divide
from saltern.data.loading.batches import Batch
from saltern.engine.fold_data import FoldData
from saltern.engine.lr_range import RangeTest, growing_rates, range_test
from saltern.engine.mixing import mixed
from saltern.engine.recipe import Recipe
from saltern.files import atomic
from saltern.job import Job
from saltern.losses import Schedule
from saltern.pipeline.batch_size import found_batch_size
from saltern.pipeline.rehearsal import fold_seed, fresh_network
from saltern.report.lr_curve import draw_range
from saltern.runs import RunDir


@dataclass(frozen=True)
class LrRange:
    """What came of it, and where it lies."""

    phase: str
    test: RangeTest
    table: Path
    picture: Path


def lr_range(job: Job) -> LrRange:
    """Train fold 0 for some steps at growing rates; begins no run.

    The first of `trainer.folds`, where some are asked for. Writes `outputs/lr/<name>.csv` (lr, loss, smoothed) and
    `outputs/lr/<name>.png`.

    Raises:
        ConfigError: several processes.
        TrainingError: memory runs out, or the loss diverges at once.
    """
    config = job.config
    assert isinstance(config, LrConfig)
    _refuse_several(config)
    name = config.phase or next(iter(config.schedule.phases))
    number = (config.trainer.folds or [0])[0]
    if number == ALL_IMAGES:
        raise ConfigError(f"trainer.folds=[{ALL_IMAGES}]: make lr trains a fold. Expected a number, or null.")
    seed = fold_seed(job, number)
    split = select_fold(divide(job.material.dataset, config.folds, job.progress).folds, number)
    runtime.seed_all(seed)
    network = fresh_network(job)
    if config.trainer.batch_size == AUTO:
        config.trainer.batch_size = found_batch_size(job, network)
    loader = job.material.train_batches(job.material.rows(split.train), job.loading, network.stride, seed)

    share = Schedule(ScheduleConfig(phases={name: config.schedule.phases[name]})).at(0).sampling

    def batches(epoch: int, sampling: float | None) -> Iterator[Batch]:
        loader.set_epoch(epoch, sampling)
        return iter(loader)

    data = FoldData(batches, loader.sizes, lambda network: {})
    data = mixed(data, config.augment.batch, job.runtime.device, seed, rank=0)
    rates = growing_rates(config.low, config.high, config.steps)
    test = range_test(
        network,
        lambda epoch: data.batches(epoch, share),
        Recipe.of(config),
        config.schedule.phases[name],
        rates,
        runtime=job.runtime,
        progress=job.progress,
    )
    loader.close()
    return _written(job, name, test)


def _refuse_several(config: LrConfig) -> None:
    processes = config.trainer.devices * config.trainer.nodes
    if processes > 1:
        raise ConfigError(
            f"trainer.devices times trainer.nodes is {processes}: make lr is one process. Expected 1 of each, and "
            f"trainer.accumulate={processes * config.trainer.accumulate} for steps of as many images."
        )


def _written(job: Job, phase: str, test: RangeTest) -> LrRange:
    folder = RunDir.of(Path(job.config.outputs) / "lr", job.config.name).path
    table, picture = (folder.with_name(f"{folder.name}.{kind}") for kind in ("csv", "png"))
    columns = {"lr": test.rates, "loss": test.losses, "smoothed": test.smoothed}
    with atomic(table) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False)
    marks = {"steepest descent": test.suggestion, "diverged": test.diverged_at}
    title = f"{job.config.name}: loss of {phase} by learning rate"
    draw_range(picture, title, columns, {name: rate for name, rate in marks.items() if rate is not None})
    return LrRange(phase, test, table, picture)
