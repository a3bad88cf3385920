"""What all scripts share: Hydra's entry, errors without tracebacks, the progress line, tables."""

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from manner import is_debug, is_quiet, kept, show_what_can_be, taken, word_warnings
from mishap import account_of, traceback_of
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.table import Table
from rich.text import Text
from terminal import answer, console, errors, is_main_process, say, verdict

from saltern.config import (
    RunConfig,
    as_meant,
    explain,
    own_keys,
    recorded_overrides,
    refuse_bytes,
    refuse_surprises,
    register,
    reopen,
    resolve,
)
from saltern.errors import RunError, SalternError
from saltern.files import as_storage_error
from saltern.runs import RunDir

if TYPE_CHECKING:
    from saltern.data.check.examine import DatasetReport
    from saltern.job import Job
    from saltern.pipeline.anywhere import Predicted
    from saltern.submission.table import SubmissionProof

USER_ERROR = 2
"""Exit status for what the user can mend."""
BUG = 1
"""Exit status for our own bugs, and for findings (`make check`)."""

UNHURT = "what was being written is as it was before; give the same command again"


class Terminated(KeyboardInterrupt):
    """SIGTERM, as Ctrl-C is SIGINT: what is being written is put away on the way out."""

    status = 143


def enter(main: Callable[[], None], stopped: str = UNHURT, *, groups: bool = True) -> None:
    """Run a Hydra `main`; an error that is meant for the user becomes its text and exit status 2.

    Any other error is a bug of ours: one screen that says where its traceback is, and exit status 1. `stopped` is what
    a stop by Ctrl-C or SIGTERM leaves, and how to go on; `groups`: whether its config has the groups of a run.
    """
    before = signal.signal(signal.SIGTERM, _terminate)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # so that errors reach us instead of Hydra's own printer
    show_what_can_be()
    try:
        with kept():
            _enter(main, stopped, groups)
    finally:
        signal.signal(signal.SIGTERM, before)


def _enter(main: Callable[[], None], stopped: str, groups: bool) -> None:
    # argparse reads the overrides before and after a flag as two lists and refuses the second
    given = sorted(sys.argv[1:], key=lambda argument: argument not in ("-m", "--multirun"))
    try:
        given = taken(given)
        word_warnings(is_main=is_main_process(), handler=ConsoleHandler())
        register(forms=not groups)
        refuse_bytes(given)
        multirun = given[:1] in (["-m"], ["--multirun"])
        sys.argv[1:] = [text if text[:1] == "-" else as_meant(text, multirun=multirun) for text in given]
        refuse_surprises(sys.argv[1:], groups=groups)
        main()
    except KeyboardInterrupt as stop:
        how = "stopped by SIGTERM" if isinstance(stop, Terminated) else "stopped"
        _stop(f"{how}: {stopped}" if is_main_process() else "", getattr(stop, "status", 130))
    except Exception as error:
        _fail(error)


def _terminate(_signal: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once, which hurts nothing either
    raise Terminated


def answering(task: Callable[[DictConfig], None]) -> Callable[[DictConfig], None]:
    """Decorate a Hydra task: its errors for the user are answered here, before Hydra adds words of its own.

    In a multirun they go on to Hydra, which lets the other jobs run first.
    """

    @functools.wraps(task)
    def answered(raw: DictConfig) -> None:
        try:
            task(raw)
        except Exception as error:
            if is_multirun():
                raise
            _fail(error)

    return answered


class ConsoleHandler(logging.Handler):
    """Log lines above the progress line; warnings are marked and yellow, and go to stderr where quiet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        warns = record.levelno >= logging.WARNING
        text = f"warning: {self.format(record)}" if warns else self.format(record)
        place = errors if warns and is_quiet() else console
        place.print(Text(text, style="yellow" if warns else ""), soft_wrap=True)


def _fail(error: Exception) -> None:
    """End with what `error` says: the user's to mend, or a bug of ours."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        meant: Exception = explain(error)
    else:
        meant = as_storage_error(error) if isinstance(error, OSError) else error
    trace = traceback_of(error) if is_debug() else ""
    if isinstance(meant, SalternError):
        _stop(f"{trace}{type(meant).__name__}: {meant}", USER_ERROR)
    _stop(trace + account_of(error), BUG)


def _stop(text: str, status: int) -> NoReturn:
    if text:
        errors.print(Text(text, style="red"))
    sys.exit(status)


def task_overrides() -> list[str]:
    """The overrides of the command line, as they were given."""
    return list(HydraConfig.get().overrides.task)


def is_multirun() -> bool:
    """Whether Hydra runs this as one of several jobs."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def existing_run(raw: DictConfig, entry: type[RunConfig] = RunConfig) -> RunConfig:
    """The frozen config of the run that `name=` names, for the stages after `train`.

    `entry`: the config of the stage, whose own keys are no part of the run's.

    Raises:
        RunError: there is no such run.
        ConfigError: an override contradicts what the run was made with.
    """
    config: RunConfig = resolve(raw)
    run = RunDir.of(config.outputs, config.name)
    if not run.config.is_file() and run.folds.is_file():
        raise RunError(
            f"{run.config}: is gone from this run, which every stage needs. Put it back as it was: `make folds` with "
            "the run's settings and another name=… writes the same, but for the name."
        )
    if not run.config.is_file():
        known = sorted(path.parent.name for path in run.path.parent.glob("*/config.yaml"))
        raise RunError(
            f"{run.path}: there is no such run. Runs in {run.path.parent}: {', '.join(known) or 'none'}. "
            "Give name=…, or begin one with `make train`."
        )
    own = own_keys(entry)
    given = [text for text in task_overrides() if text.partition("=")[0].lstrip("+") not in own]
    return reopen(run.config, recorded_overrides(run.environment), given)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table, unless quiet; floats with four digits, columns of numbers to the right."""
    if is_quiet():
        return
    drawn = Table()
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float | None) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(drawn)


def _cell(value: Any) -> str | Text:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else value if isinstance(value, Text) else str(value)


def show_run(job: "Job") -> None:
    """The scores of a run, per fold and pooled, and what tuning is worth."""
    from saltern.report.artifacts import read_scores  # not before a typo is answered
    from saltern.report.cautions import cautions_of

    run, scores, cautions = job.run, read_scores(job.run), cautions_of(job.run)
    for text in cautions:
        (errors if is_quiet() else console).print(Text(text, style="yellow"), soft_wrap=True)
    parts = {**{f"fold {fold}": part for fold, part in scores["per_fold"].items()}, "pooled": scores["pooled"]}
    if scores["nested"] is not None:
        parts["nested"] = {"images": scores["pooled"]["images"], "at_decision": scores["nested"]["scores"]}
    rows = [
        [name, part["images"], part.get("at_0.5", {}).get(score), part["at_decision"][score]]
        for score in ("iou_image", "precision_tgs")
        for name, part in parts.items()
    ]
    half = len(rows) // 2
    merged = [[*first, *second[2:]] for first, second in zip(rows[:half], rows[half:], strict=True)]
    columns = ["out-of-fold", "images", "iou_image at 0.5", "at decision", "precision_tgs at 0.5", "at decision"]
    table(f"{run.path}: scores", columns, merged)
    _show_phases(scores["training"])
    from saltern.inference.decide import SHAPE_KEYS, read_decision

    decision = read_decision(run.decision).to_json()
    gates = "".join(f", {key} {decision[key] or 'none'}" for key in ("empty_gate", "presence_gate") if key in decision)
    gates += "".join(f", {key} {decision[key]}" for key in SHAPE_KEYS if key in decision)
    by = "" if decision == scores["decision"] else " (set by hand: the scores above are those of the tuned one)"
    say(f"decision: threshold {decision['threshold']}, min_area {decision['min_area']}{gates}{by}")
    if scores.get("all_images") is not None:
        say(scores["all_images"]["note"])


def show_outcome(job: "Job") -> None:
    """A panel with the number to believe, what leads to it, and where the files are; where quiet, the number alone."""
    from saltern.report.artifacts import read_scores
    from saltern.report.belief import belief_lines, believed_line
    from saltern.report.cautions import cautions_of

    run, scores, doubted = job.run, read_scores(job.run), bool(cautions_of(job.run))
    believed = believed_line(scores, doubted=doubted)
    if is_quiet():
        answer(believed)
        return
    paths = (run.report, run.submission, run.scores, run.decision, run.oof, run.test)
    console.rule(Text(run.name, style="bold"), style="none")  # no sides, so that no path is cut in two
    console.print(Text(believed, style="bold green"), soft_wrap=True)
    say("\n".join([*belief_lines(scores, doubted=doubted), *(f"  {path}" for path in paths if path.exists())]))
    console.rule(style="none")


def _show_phases(training: dict[str, Any]) -> None:
    phases = list(dict.fromkeys(phase for fold in training.values() for phase in fold["phase_best"]))
    if len(phases) > 1:
        rows = [
            [f"fold {name}", *(fold["phase_best"].get(phase) for phase in phases)] for name, fold in training.items()
        ]
        monitor = next(iter(training.values()))["monitor"]
        table(f"best validation {monitor} of each phase", ["", *phases], rows)


def show_predicted(done: "Predicted") -> None:
    """What was said of a folder of images, and where it lies."""
    kept = f"; {done.kept} of them were predicted before" if done.kept else ""
    emptied = f", {done.emptied} emptied by the decision" if done.emptied else ""
    say(f"{done.images} images: {done.with_foreground} with foreground{emptied}{kept}")
    target = done.target
    for path in (target.path / "masks", target.predictions, target.probs, target.path / "overlays"):
        if path.exists():
            say(f"  {path}")


def show_scores(title: str, scores: dict[str, Any]) -> None:
    """The scores of a submission."""
    table(str(title), list(scores), [list(scores.values())])


def show_proof(job: "Job", proof: "SubmissionProof") -> None:
    """What was found when the submission was read back."""
    say(f"{job.run.submission}: {proof.rows} rows, {proof.empty} of them empty; read back and proven")


def show_dataset_report(job: "Job", report: "DatasetReport") -> None:
    """What `make check` found, errors first."""
    counts = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    sizes = ", ".join(f"{size} ({count})" for size, count in list(report.sizes.get("labelled", {}).items())[:4])
    say(f"{report.root} ({report.layout}): {counts or 'cannot be opened'}; sizes {sizes or 'unknown'}")
    styles = {"error": "red", "warning": "yellow"}
    rows = [
        [Text(item.severity, style=styles.get(item.severity, "")), item.kind, item.count or None, item.text]
        for item in report.findings
    ]
    if rows:
        table("findings", ["", "kind", "images", "what it means"], rows)
    if report.coverage:
        table("coverage of the foreground", ["share", "images"], report.coverage)
    answer(f"{verdict(report.count)}, {report.seconds:.1f} s")
    say(f"  {job.run.dataset_report}\n  {job.run.dataset_page}")
