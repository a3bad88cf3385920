"""What a reader must know before any number of a page: how far the runs under it may be set side by side."""

from saltern.files import read_as
from saltern.runs import RunDir
from saltern.runs.seals import EnsembleSeal


def cautions_of(run: RunDir) -> list[str]:
    """The sentences for the top of a run's page, and of the console; none for a run that is no ensemble.

    Raises:
        RunError: its `ensemble.json` is damaged.
    """
    if not run.ensemble.exists():
        return []
    seal = read_as(run.ensemble, EnsembleSeal)
    found = []
    if seal.mixed_folds:
        kinds = ", ".join(f"{name}: {kind}" for name, kind in seal.fold_kinds.items())
        found.append(
            f"Mixed folds: the runs divide the images differently ({kinds}). The nested estimate holds out the folds "
            f"of {seal.runs[0]} alone and inherits whatever leaks between the others; do not trust it."
        )
    elif seal.mixed_folds is None:
        found.append(
            "An earlier version averaged these runs without asking whether they divide the images alike; if they do "
            "not, do not trust the nested estimate. `make ensemble` again asks."
        )
    if seal.other_images:
        found.append(other_images_text(seal.other_images))
    return found


def other_images_text(count: int) -> str:
    """The sentence for `count` images whose files are not the same in all runs."""
    return f"Other data under the same ids: the files of {count:,} images are not the same for all runs (insist=true)."
