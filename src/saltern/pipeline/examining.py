"""`make validate`: what a submission should hold, from a run or from the competition's own file, and what it holds."""

import logging
from pathlib import Path

from saltern.config import ValidateConfig
from saltern.data.source.csvs import read_csv
from saltern.data.source.dataset import samples_of
from saltern.data.source.listing import sizes_in
from saltern.errors import DataError
from saltern.job import Job
from saltern.submission.examine import Examination, Expected, examine

log = logging.getLogger(__name__)


def validate_submission(config: ValidateConfig) -> Examination:
    """Everything that is wrong with `config.submission`, row by row.

    Raises:
        DataError: it cannot be read at all, or what it is held against cannot be.
        RunError: there is no such run.
    """
    expected = _of_run(config) if config.name is not None else _of_files(config)
    if expected.ids is None:
        log.warning(
            "no ids are known, so missing and foreign ones are not noticed; name=RUN or sample_submission=FILE "
            "gives them"
        )
    found = examine(Path(config.submission), expected, config.most)
    if found.unsized:
        log.warning(
            "%s: the image sizes of %d rows are unknown, so runs past the end are not noticed there; name=RUN, "
            "images=FOLDER or size=[height,width] gives them",
            config.submission, found.unsized,
        )  # fmt: skip
    return found


def _of_run(config: ValidateConfig) -> Expected:
    assert config.name is not None
    job = Job.reopen(config.outputs, config.name, config.root)
    dataset = job.material.dataset
    if not len(dataset.test):
        raise DataError(f"{dataset.root}: has no test images, so the run {config.name} has nothing to submit.")
    sizes = {sample.id: (sample.height, sample.width) for sample in samples_of(dataset.test)}
    return Expected(job.config.submission, dataset.submission_ids or list(dataset.test["id"]), sizes)


def _of_files(config: ValidateConfig) -> Expected:
    form, ids = config.format, None
    if config.sample_submission is not None:
        path = Path(config.sample_submission)
        names = list(dict.fromkeys(read_csv(path, [form.id_column])[form.id_column]))
        strange = [name for name in names if not name.endswith(form.suffix)]
        if strange:
            raise DataError(f"{path}: the id {strange[0]!r} does not end in format.suffix={form.suffix!r}.")
        ids = [name.removesuffix(form.suffix) for name in names]
    sizes = sizes_in(Path(config.images)) if config.images else {}
    height_width = None if config.size is None else (config.size[0], config.size[1])
    return Expected(form, ids, sizes, height_width)
