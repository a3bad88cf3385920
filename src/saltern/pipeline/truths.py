"""Whether runs, a run and its data set, an ensemble and its members, mean the same truth under the same ids."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from saltern.data.source.truths import Hashes, read_truths
from saltern.errors import DataError, RunError
from saltern.inference.store import ProbStore
from saltern.job import Job
from saltern.report.pictures import Load, Sample
from saltern.runs import RunDir

log = logging.getLogger(__name__)

Truths = Mapping[str, Hashes]
"""Id → hashes of what it was scored on."""
SHOWN = 3
"""Ids that a sentence names."""


def truths_of(job: Job) -> Truths:
    """What the out-of-fold images of a tuned run were scored on; of an earlier version's run, as its data set is now.

    Raises:
        RunError: `truth.csv` is damaged, or not there and the data set cannot be read either.
    """
    path, root = job.run.truth, job.config.dataset.root
    if path.exists():
        return read_truths(path)
    log.warning(
        "%s: is not there, an earlier version tuned this run; its truth is read from %s as it is now", path, root
    )
    try:
        return {name: job.material.hashes_of(name) for name in job.fold_of}
    except DataError as error:
        raise RunError(
            f"{path}: is not there, and what this run was scored on cannot be read from its data set: {error}\n"
            f"Where the data set lies now, `make tune name={job.config.name} dataset.root=…` writes the file."
        ) from error


def refuse_other_truths(jobs: Sequence[Job], *, insist: bool) -> int:
    """Make sure that the first run and each other mean the same by an id, before anything is averaged or drawn.

    Args:
        jobs: tuned runs. Ids that one run has alone are left to those who ask for the same images.
        insist: take images whose files differ while their truths agree, with a warning.

    Returns:
        How many images have other files in some run than in the first.

    Raises:
        RunError: truths that differ, by one pixel or more; or, without `insist`, files of images that do.
    """
    first, *others = jobs
    reference, strangers = truths_of(first), set[str]()
    for job in others:
        truths = truths_of(job)
        pair = f"{first.run.path} and {job.run.path}"
        if wrong := _differing(reference, truths, "truth"):
            raise RunError(
                f"{pair} were scored on different truths: the masks of {_counted(wrong, reference)} differ, so their "
                "scores and probabilities mean different things. If masks were mended since one run was tuned, `make "
                "tune` of that run scores it on the masks of today. Otherwise these are runs over two data sets, or "
                "with other classes as foreground."
            )
        if found := _differing(reference, truths, "image"):
            said = (
                f"{pair} are runs over other data under the same ids: the files of {_counted(found, reference)} differ"
            )
            if not insist:
                raise RunError(f"{said}, though the truths agree. If that is meant, give insist=true.")
            log.warning("%s; insist=true takes them as the same images", said)
            strangers.update(found)
    return len(strangers)


def refuse_other_than_members(job: Job, truths: Truths) -> None:
    """For an ensemble about to be scored on `truths`: raise a RunError where a member was scored on others.

    Members that are gone, or that an earlier version tuned, are not asked.
    """
    if not job.life.is_ensemble:
        return
    for name in job.life.ensemble().runs:
        member = RunDir.of(job.config.outputs, name)
        wrong = _differing(truths, read_truths(member.truth), "truth") if member.truth.exists() else []
        if wrong:
            raise RunError(
                f"{job.config.dataset.root}: the masks of {_counted(wrong, truths)} are not those that {member.path} "
                f"was scored on. Put them back, or give `make tune name={name}` and then the `make ensemble` again."
            )


def warn_of_changes(job: Job, truths: Truths) -> None:
    """Tell where `truths`, as the data set has them now, are not those of the tuning before."""
    path, root = job.run.truth, job.config.dataset.root
    if not path.exists() or any(fault.startswith(path.name) for fault in job.life.faults("tune")):
        return  # the first tuning, or a file that does not hold, which is told already
    try:
        before = read_truths(path)
    except RunError as error:
        log.warning("%s It is written anew.", error)
        return
    for what, name, meaning in (
        ("truth", "masks", "scores are those of today's masks, but the networks were trained on the older ones"),
        ("image", "image files", "the probabilities are those of the older files"),
    ):
        if changed := _differing(before, truths, what):
            counted = _counted(changed, truths)
            log.warning("%s: the %s of %s changed since the last tuning; %s", root, name, counted, meaning)


def pixels_for_page(job: Job) -> Load:
    """Image, truth and out-of-fold predictions by id, for a page.

    What it gives raises a RunError where the truth of an image is not what the run was scored on; an image whose file
    changed since is told, the first one by name.
    """
    store, told = ProbStore(job.run.oof), False
    known: Truths = read_truths(job.run.truth) if job.run.truth.exists() else {}
    if not known:
        log.warning("%s: is not there, so a mask that changed since `make tune` would not be noticed", job.run.truth)

    def load(name: str) -> Sample:
        nonlocal told
        image, target = job.material.pixels_of(name)
        if name in known:
            changed = _changed(job, name, target, known[name])
            if changed and not told:
                log.warning("%s: the image file of %r changed since the run was scored", job.run.path, name)
            told = told or changed
        return Sample(image, target, store[name], store.presence(name))

    return load


def _changed(job: Job, name: str, target: np.ndarray, then: Hashes) -> bool:
    """Whether the image's file changed; a RunError where its truth did."""
    now = job.material.hashes_of(name, target)
    if now.truth != then.truth:
        raise RunError(
            f"{job.config.dataset.root}: the mask of {name!r} is not the one that {job.run.path} was scored on. Put it "
            f"back, or give `make tune name={job.config.name}` to score the run on the masks of today."
        )
    return now.image != then.image


def _differing(first: Truths, other: Truths, what: str) -> list[str]:
    """The ids of both whose `what`, a field of Hashes, differs, sorted."""
    return sorted(id for id in first.keys() & other.keys() if getattr(first[id], what) != getattr(other[id], what))


def _counted(ids: Sequence[str], all_ids: Truths) -> str:
    more = ", …" if len(ids) > SHOWN else ""
    return f"{len(ids):,} of {len(all_ids):,} images ({', '.join(map(repr, ids[:SHOWN]))}{more})"
