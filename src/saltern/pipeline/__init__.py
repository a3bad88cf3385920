"""One function per stage, named as the make targets and the artifacts are."""

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
from saltern.pipeline.lr_range import lr_range
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
