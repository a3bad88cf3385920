"""One function per stage, named as the make targets and the artifacts are."""

from saltern.job import Job
from saltern.pipeline.across import compare_runs, ensemble_runs, score_submission
from saltern.pipeline.stages import (
    check_dataset,
    finish_run,
    make_folds,
    predict_test,
    preview,
    train,
    train_fold,
    tune_decision,
    write_report,
    write_submission,
)

__all__ = [
    "Job",
    "check_dataset",
    "compare_runs",
    "ensemble_runs",
    "finish_run",
    "make_folds",
    "predict_test",
    "preview",
    "score_submission",
    "train",
    "train_fold",
    "tune_decision",
    "write_report",
    "write_submission",
]
