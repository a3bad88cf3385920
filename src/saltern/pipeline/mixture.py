"""Runs whose folds divide the images differently: whose leak a mean of them inherits."""

import logging
from collections.abc import Sequence

import pandas as pd

from saltern.config.choices import GROUPED_FOLDS
from saltern.errors import RunError
from saltern.job import Job

log = logging.getLogger(__name__)

MIXED = "mixed"
"""In place of a kind: a run that is itself the mean of runs whose folds are mixed."""


def mixed_kinds(members: Sequence[Job], *, insist: bool) -> dict[str, str]:
    """Run → the kind of its folds, where `members` divide their images differently; empty where all divide alike.

    Args:
        members: the runs of an ensemble, all with their folds.
        insist: take such runs, with a warning.

    Raises:
        RunError: they do, without `insist`.
    """
    kinds = {member.run.name: kind_of(member) for member in members}
    others = [member for member in members[1:] if not divide_alike(members[0].folds, member.folds)]
    if not others and MIXED not in kinds.values():
        return {}
    said = (
        f"the runs divide the images differently ({listed(kinds)}), so nested cannot be trusted: it holds out the "
        f"folds of {members[0].run.name} alone. {_leak(kinds)}"
    )
    if not insist:
        raise RunError(
            f"{said} Train runs over one division (folds=file folds.file={members[0].run.folds}); or give insist=true: "
            "the report then says so at its top."
        )
    log.warning("%s", said)
    return kinds


def kind_of(job: Job) -> str:
    """`folds.kind` of a run as it was frozen, or MIXED."""
    if not job.life.is_ensemble:
        return job.config.folds.kind
    mixed = job.life.ensemble().mixed_folds
    if mixed is None:
        log.warning(
            "%s: averaged by an earlier version, which did not ask whether its members divide the images alike; "
            "`make ensemble` again looks",
            job.run.path,
        )
    return MIXED if mixed else job.config.folds.kind


def divide_alike(first: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether two splits (id, fold) of the same ids hold the same images together, whatever the folds' numbers.

    Images that are always trained on (-1) must be the same ones, too.
    """
    both = first.merge(other, on="id")
    if len(both) < max(len(first), len(other)) or ((both["fold_x"] == -1) != (both["fold_y"] == -1)).any():
        return False
    pairs = both[["fold_x", "fold_y"]].drop_duplicates()
    return not pairs["fold_x"].duplicated().any() and not pairs["fold_y"].duplicated().any()


def uneven_groups(members: Sequence[Job]) -> list[str]:
    """A sentence for each run that is compared with the first though one of the two alone keeps groups together."""
    first, *others = members
    found = []
    for other in others:
        kinds = {first.run.name: kind_of(first), other.run.name: kind_of(other)}
        uneven = len({kind in GROUPED_FOLDS for kind in kinds.values()}) == 2
        if uneven and (MIXED in kinds.values() or not divide_alike(first.folds, other.folds)):
            found.append(f"The runs keep images together by different rules ({listed(kinds)}). {_leak(kinds)}")
    return found


def listed(kinds: dict[str, str]) -> str:
    """Runs and kinds as text."""
    return ", ".join(f"{name}: {kind}" for name, kind in kinds.items())


def _leak(kinds: dict[str, str]) -> str:
    loose = [name for name, kind in kinds.items() if kind not in GROUPED_FOLDS]
    if loose and len(loose) < len(kinds):
        return (
            f"Networks of {', '.join(loose)} may have trained on neighbours or look-alikes of the images that they are "
            "scored on, which the other folds keep together."
        )
    return "Which images a network has not seen, and by which its epoch was chosen, is another question in each run."
