"""What the page of a run shows beside its artifacts: groups, members of an ensemble, a look at the test images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from saltern.data.folds.membership import ALONE, read_groups
from saltern.data.source.dataset import samples_of
from saltern.errors import SalternError
from saltern.files import read_as
from saltern.inference.decide import Decision, decide
from saltern.inference.members import evenly
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.report.survey import Beside, Members, TestImages, looks_of
from saltern.runs import RunDir
from saltern.runs.seals import EnsembleSeal

MOST_TEST = 1000
"""Test images that are looked at; more would take minutes and show the same."""


def beside_page(job: Job) -> Beside:
    """For `report.run_page.write_report`."""
    groups = read_groups(job.run) or {}
    members, note = _members(job)
    return Beside(
        groups={name: label for name, label in groups.items() if not label.startswith(ALONE)},
        members=members,
        members_note=note,
        test=(lambda decision: look_at_test(job, decision)) if job.has_test else None,
        progress=job.progress,
    )


def look_at_test(job: Job, decision: Decision) -> TestImages:
    """Brightness, size and predicted share of at most MOST_TEST test images, evenly chosen."""
    table = job.material.dataset.test
    part = table.iloc[evenly(len(table), MOST_TEST)]
    holds = not job.life.faults("predict")
    store = ProbStore(job.run.test) if holds else None
    rows = []
    with job.progress.track("looking at the test", len(part)):
        for sample in samples_of(part):
            looks = looks_of(job.material.dataset.read_image(sample))
            share = np.nan
            if store is not None:
                share = float(decide(store[sample.id], decision, store.presence(sample.id)).mean())
            rows.append({**looks, "share": share})
            job.progress.advance(1)
    return TestImages(pd.DataFrame(rows), len(table))


def _members(job: Job) -> tuple[Members | None, str]:
    """The members' out-of-fold probabilities of a run that is an ensemble; else, or where one is gone, why not."""
    if not job.life.is_ensemble:
        return None, ""
    seal = read_as(job.run.ensemble, EnsembleSeal)
    try:
        stores = [ProbStore(RunDir.of(job.config.outputs, name).oof) for name in seal.runs]
    except SalternError as error:
        return None, f"Not known: the probabilities of a member are not there any more ({error})"

    def members(name: str) -> Sequence[np.ndarray]:
        return [store[name] for store in stores]

    return members, ""
