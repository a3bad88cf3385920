"""`make submit message=…`: the run's proven file, handed to Kaggle's command line once."""

from datetime import UTC, datetime
from pathlib import Path

from saltern.errors import ConfigError, DataError, RunError
from saltern.files import sha256
from saltern.job import Job
from saltern.kaggle import PAGE, Kaggle, last_words
from saltern.pipeline.finishing import write_submission
from saltern.submission.handed_in import HandedIn, add_handed_in, read_handed_in


def hand_in(job: Job, message: str, *, again: bool = False) -> str:
    """Hand in the run's `submission.csv`, written and proven anew where it no longer holds; gives Kaggle's answer.

    Args:
        job: the run.
        message: its words in the competition's list.
        again: hand in a file that was handed in before.

    Raises:
        ConfigError: the run's form names no competition.
        RunError: the same file was handed in before; or the run's probabilities or decision do not hold.
        DataError: no command line, no token, or Kaggle did not take the file.
    """
    competition = job.config.submission.competition
    if competition is None:
        raise ConfigError(
            "submission.competition=None: this run does not say where it is handed in; give the name in the "
            "competition's address, such as submission.competition=tgs-salt-identification-challenge."
        )
    path, record = job.run.submission, Path(job.config.outputs) / "submitted.csv"
    if job.life.faults("submit"):
        write_submission(job)
    digest = sha256(path)
    before = [item for item in read_handed_in(record) if (item.sha256, item.competition) == (digest, competition)]
    if before and not again:
        raise RunError(
            f"{path}: this very file was handed in to {competition} at {before[-1].time} (run {before[-1].run}, "
            f"{before[-1].message!r}). again=true hands it in once more, which costs one of the day's tries."
        )
    kaggle = Kaggle.found(f"upload {path} in a browser at {PAGE}/competitions/{competition}/submit")
    said = kaggle.call("submit", competition, "-f", str(path), "-m", message)
    if "success" not in said.lower():
        raise DataError(
            f"{path}: kaggle did not say that {competition} took it. It said: {last_words(said)}\n"
            f"See {PAGE}/competitions/{competition}/submissions before you try again."
        )
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    add_handed_in(record, HandedIn(now, competition, job.config.name, digest, message))
    return last_words(said)
