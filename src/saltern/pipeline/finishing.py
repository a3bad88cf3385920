"""From trained folds to a proven submission and a page: tune, predict, submit, report."""

import logging
from collections.abc import Iterator

import numpy as np

from saltern.config import VocConfig
from saltern.data.folds.membership import read_groups
from saltern.data.source.dataset import samples_of
from saltern.data.source.truths import Hashes, write_truths
from saltern.errors import RunError
from saltern.files import atomic, write_json
from saltern.inference import tune as tuning
from saltern.inference.choice import choose
from saltern.inference.decide import read_decision, write_decision
from saltern.inference.estimate import cross_chosen, nested_table, score_table, scores_json
from saltern.inference.members import Images, Members
from saltern.inference.painted import Painted, paint, resemblance
from saltern.inference.shapes import shapes_in
from saltern.inference.store import ProbStore, predictions_in
from saltern.job import Job
from saltern.pipeline.all_images import mention, note_of, predicts
from saltern.pipeline.estimating import asks_anew, claims, groups_of_run
from saltern.pipeline.networks import weights_of
from saltern.pipeline.page_material import beside_page
from saltern.pipeline.truths import pixels_for_page, refuse_other_than_members, warn_of_changes
from saltern.report.outcome import write_outcome
from saltern.report.resembling import warnings_of
from saltern.report.run_page import write_report as write_page
from saltern.submission import table as submission
from saltern.submission.table import SubmissionProof
from saltern.submission.voc import write_voc_results

log = logging.getLogger(__name__)


def finish_run(job: Job, *, again: bool = True) -> None:
    """Tune, predict what is not predicted yet, submit, report; several processes predict together.

    Without `again`, a run in which every stage still holds is left as it is.
    """
    group = job.runtime.group
    with group.together(), job.held():
        if not job.has_test:
            log.warning("%s has no test images: no test probabilities, no submission", job.material.dataset.root)
        group.on_main(mention, job)
        again = group.agree(group.is_main and (again or asks_anew(job)))
        done = group.agree(group.is_main and not again and job.life.is_finished(with_test=job.has_test))
        if done:
            log.info("%s is finished already; overwrite=true begins it anew", job.run.path)
            return
        if group.agree(group.is_main and (again or bool(job.life.stale("tune")))):
            group.on_main(_tune, job)
        if job.has_test and group.agree(group.is_main and bool(job.life.faults("predict"))):
            _predict(job)
        group.on_main(_conclude, job)


def _conclude(job: Job) -> None:
    if job.has_test:
        _submit(job)
    _report(job)


def tune_decision(job: Job) -> None:
    """Tune the decision on the out-of-fold probabilities of all trained folds; score it per fold, pooled, nested.

    A submission and a report that rest on an older decision are removed.
    """
    with job.life.hold():
        _tune(job)


def _tune(job: Job) -> None:
    run, config = job.run, job.config.inference
    made_of, folds = job.life.ingredients("tune"), job.trained_folds
    job.life.say_why("tune")
    fold_of = job.fold_of
    truths: dict[str, Hashes] = {}
    statistics = tuning.collect(_out_of_fold(job, fold_of, truths), config.thresholds, shapes_in(config))
    missing = sorted(set(fold_of) - set(statistics.ids))
    if missing:
        raise RunError(
            f"{run.oof}: no probabilities for {len(missing)} images, such as {missing[0]}; "
            "delete the fold_*/done.json and run `make train` again."
        )
    refuse_other_than_members(job, truths)
    warn_of_changes(job, truths)
    groups = groups_of_run(job)
    choice, nested = choose(statistics, config, groups), cross_chosen(statistics, fold_of, config, groups)
    decision = choice.decision
    job.life.forget("submit", "report")
    write_truths(run.truth, truths)
    write_decision(run.decision, decision)
    with atomic(run.oof_scores) as temporary:
        score_table(statistics, fold_of, decision).to_csv(temporary, index=False)
    with atomic(run.oof_nested) as temporary:
        nested_table(statistics, fold_of, config, nested).to_csv(temporary, index=False)
    training = {} if job.life.is_ensemble else {str(fold): job.life.fold_facts(fold) for fold in folds}
    scores = scores_json(statistics, fold_of, decision, config, nested)
    believed = {**choice.to_json(), **claims(job, statistics, fold_of, nested, scores)}
    content = {"folds": folds, **scores, **believed, "training": training, **note_of(job)}
    write_json(run.scores, content)
    if not job.life.is_ensemble:  # its settings are only those of its first member
        write_outcome(run, job.config, content)
    job.life.close("tune", [run.decision, run.oof_scores, run.oof_nested, run.scores, run.truth], made_of)


def _out_of_fold(job: Job, fold_of: dict[str, int], truths: dict[str, Hashes]) -> Iterator[tuning.Sample]:
    """Predictions and target of every image that `fold_of` names; their hashes are added to `truths` on the way."""
    store = ProbStore(job.run.oof)
    with job.progress.track("tune", len(fold_of)):
        for name in store:
            if name in fold_of:
                target = job.material.truth_of(name)
                truths[name] = job.material.hashes_of(name, target)
                yield tuning.Sample(name, store[name], target, store.presence(name))
                job.progress.advance(1)


def predict_test(job: Job) -> None:
    """Store the mean test probabilities over trained folds, the network of all images, kept weights and views."""
    job.life.refuse_ensemble("predict")
    with job.runtime.group.together(), job.held():
        _predict(job)


def _predict(job: Job) -> None:
    if job.life.is_ensemble:
        raise RunError(f"{job.run.path}: its test probabilities do not hold; run `make ensemble` again.")
    folds, source = job.trained_folds, job.material.test
    if not job.has_test:
        raise RunError(f"{job.material.dataset.root}: there are no test images to predict.")
    group = job.runtime.group
    made_of = job.life.ingredients("predict") if group.is_main else {}
    group.on_main(job.life.forget, "predict", "submit", "report")
    weights = weights_of(job, folds, with_all=group.agree(group.is_main and predicts(job)))
    images = Images(job.material, source, list(range(len(source))), job.loading)
    shards = Members(job.runtime, job.config, weights).store(images, job.run.test / "test_", job.progress)
    group.on_main(job.life.close, "predict", shards, made_of, {"images": len(source)})


def write_submission(job: Job) -> SubmissionProof:
    """Turn test probabilities into masks by the run's decision; write the CSV, read it back, prove it.

    For VOC the masks are also written as result PNGs, under the first of the foreground's class ids.
    """
    with job.life.hold():
        return _submit(job)


def _submit(job: Job) -> SubmissionProof:
    job.life.require("tune")
    job.life.require("predict")
    job.life.forget("submit", "report")
    made_of = job.life.ingredients("submit")
    store, dataset = ProbStore(job.run.test), job.material.dataset
    painted = Painted(read_decision(job.run.decision, presence=store.has_presence))
    ids = dataset.submission_ids or list(dataset.test["id"])
    sizes = {sample.id: (sample.height, sample.width) for sample in samples_of(dataset.test)}

    def masks() -> Iterator[tuple[str, np.ndarray]]:
        with job.progress.track("submit", len(ids)):
            for name, said in predictions_in(store):
                yield name, painted.mask(name, said)
                job.progress.advance(1)

    if isinstance(job.config.dataset, VocConfig):
        write_voc_results(job.run.voc_results, masks(), ids, sizes, job.config.dataset.class_ids()[0])
    proof = submission.write_submission(job.run.submission, masks(), ids, sizes, job.config.submission)
    found = resemblance(_painted_out_of_fold(job), painted, read_groups(job.run))
    for text in warnings_of(found):
        log.warning("%s: %s", job.run.path, text)
    write_json(job.run.resemblance, found)
    job.life.close("submit", [job.run.submission, job.run.resemblance], made_of)
    return proof


def _painted_out_of_fold(job: Job) -> Painted:
    """What the run's decision makes of the images of the trained folds."""
    fold_of, stored = job.fold_of, predictions_in(ProbStore(job.run.oof))
    return paint(((name, said) for name, said in stored if name in fold_of), read_decision(job.run.decision))


def write_report(job: Job) -> None:
    """Write the run's page from its artifacts; pixels come from the data set and the stored probabilities."""
    with job.life.hold():
        _report(job)


def _report(job: Job) -> None:
    job.life.require("tune")
    job.life.require_out_of_fold()
    made_of = job.life.ingredients("report")
    read_decision(job.run.decision, presence=ProbStore(job.run.oof).has_presence)  # before any image is drawn
    files = write_page(job.run, pixels_for_page(job), job.material.coverage, beside_page(job))
    job.life.close("report", files, made_of)
