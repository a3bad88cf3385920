"""One function per stage, named as the make targets and the artifacts are.

Each is imported when it is first named: a list of runs should not wait for networks and plots.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saltern.job import Job
    from saltern.pipeline.across import compare_runs, ensemble_runs, score_submission
    from saltern.pipeline.anywhere import predict_images
    from saltern.pipeline.bundling import bundle_run
    from saltern.pipeline.examining import validate_submission
    from saltern.pipeline.exporting import export_run
    from saltern.pipeline.finishing import finish_run, predict_test, tune_decision, write_report, write_submission
    from saltern.pipeline.handing_in import hand_in
    from saltern.pipeline.laboratory import train_losses
    from saltern.pipeline.listing import list_runs
    from saltern.pipeline.rate_range import lr_range
    from saltern.pipeline.seeds import train_seeds
    from saltern.pipeline.training import check_dataset, make_folds, preview, train, train_fold

__all__ = [
    "Job",
    "bundle_run",
    "check_dataset",
    "compare_runs",
    "ensemble_runs",
    "export_run",
    "finish_run",
    "hand_in",
    "list_runs",
    "lr_range",
    "make_folds",
    "predict_images",
    "predict_test",
    "preview",
    "score_submission",
    "train",
    "train_fold",
    "train_losses",
    "train_seeds",
    "tune_decision",
    "validate_submission",
    "write_report",
    "write_submission",
]

_MODULES = {
    "Job": "saltern.job",
    "bundle_run": "saltern.pipeline.bundling",
    "check_dataset": "saltern.pipeline.training",
    "compare_runs": "saltern.pipeline.across",
    "ensemble_runs": "saltern.pipeline.across",
    "export_run": "saltern.pipeline.exporting",
    "finish_run": "saltern.pipeline.finishing",
    "hand_in": "saltern.pipeline.handing_in",
    "list_runs": "saltern.pipeline.listing",
    "lr_range": "saltern.pipeline.rate_range",
    "make_folds": "saltern.pipeline.training",
    "predict_images": "saltern.pipeline.anywhere",
    "predict_test": "saltern.pipeline.finishing",
    "preview": "saltern.pipeline.training",
    "score_submission": "saltern.pipeline.across",
    "train": "saltern.pipeline.training",
    "train_fold": "saltern.pipeline.training",
    "train_losses": "saltern.pipeline.laboratory",
    "train_seeds": "saltern.pipeline.seeds",
    "tune_decision": "saltern.pipeline.finishing",
    "validate_submission": "saltern.pipeline.examining",
    "write_report": "saltern.pipeline.finishing",
    "write_submission": "saltern.pipeline.finishing",
}
"""Name → the module that has it."""


def __getattr__(name: str) -> Any:
    """A stage, kept once it is imported."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
